use std::time::Duration;

use bytes::Bytes;
use kafka_client::TopicPartition;

use super::*;

/// Of a listener that gives a record up after two tries.
fn rules(order: Order, replay_bound: Option<u64>) -> Rules {
    Rules { order, goes_back: false, replay_bound, tries: Some(2) }
}

/// A history that is written down by hand: milliseconds instead of instants.
struct Story {
    begin: Instant,
    history: History,
}

impl Story {
    fn of(records: i64) -> Self {
        let sent = BTreeMap::from([(0, records)]);
        Self { begin: Instant::now(), history: History { sent, ..History::default() } }
    }

    fn at(&self, millis: u64) -> Instant {
        self.begin + Duration::from_millis(millis)
    }

    fn assigned(mut self, millis: u64, instance: u32) -> Self {
        self.history.assigned.push((self.at(millis), instance, 0));
        self
    }

    fn handled(mut self, instance: u32, offset: i64, key: &str, (from, to): (u64, u64), fate: Fate) -> Self {
        self.history.handlings.push(Handling {
            listener: "work",
            instance,
            partition: TopicPartition::new("jobs", 0),
            offset,
            key: Some(Bytes::copy_from_slice(key.as_bytes())),
            value: Some(Bytes::from(offset.to_string())),
            attempt: self.history.handlings.iter().filter(|one| one.offset == offset).count() as u32 + 1,
            fate,
            began: self.at(from),
            ended: Some(self.at(to)),
        });
        self
    }

    fn done(self, instance: u32, offset: i64, from: u64, to: u64) -> Self {
        self.handled(instance, offset, "k", (from, to), Fate::Done)
    }

    fn failed(self, offset: i64, from: u64, to: u64) -> Self {
        self.handled(0, offset, "k", (from, to), Fate::Failed("simulated".into()))
    }

    fn dead(mut self, offset: i64) -> Self {
        self.history.dead.insert(offset.to_string().into_bytes());
        self
    }

    fn committed(mut self, millis: u64, offset: i64) -> Self {
        self.history.commits.push((self.at(millis), 0, offset));
        self
    }

    fn violations(&self, order: Order, replay_bound: Option<u64>) -> Vec<String> {
        self.history.violations(rules(order, replay_bound))
    }

    /// The first word or words of each violation.
    fn kinds(&self, order: Order, replay_bound: Option<u64>) -> Vec<String> {
        let kind = |text: String| text.split(':').next().unwrap_or_default().to_owned();
        self.violations(order, replay_bound).into_iter().map(kind).collect()
    }
}

#[test]
fn a_good_run_has_nothing_wrong() {
    let story = Story::of(3)
        .assigned(0, 0)
        .done(0, 0, 1, 2)
        .done(0, 1, 2, 3)
        .committed(4, 2)
        .done(0, 2, 5, 6)
        .committed(7, 3);
    assert_eq!(story.violations(Order::Partition, Some(0)), [""; 0]);
}

#[test]
fn what_was_never_done_is_lost() {
    let story = Story::of(3).assigned(0, 0).done(0, 0, 1, 2).handled(0, 1, "k", (3, 4), Fate::Cancelled);
    assert_eq!(story.kinds(Order::Partition, None), ["lost", "lost"]);
}

#[test]
fn what_is_given_up_is_a_dead_letter_or_lost() {
    let story = || Story::of(1).assigned(0, 0).failed(0, 1, 2).failed(0, 3, 4).committed(5, 1);
    assert_eq!(story().dead(0).violations(Order::Partition, Some(0)), [""; 0]);
    assert_eq!(story().kinds(Order::Partition, Some(0)), ["lost", "commit ahead"]);
    let too_soon = Story::of(1).assigned(0, 0).failed(0, 1, 2).committed(3, 1).failed(0, 4, 5).dead(0);
    assert_eq!(too_soon.kinds(Order::Partition, None), ["commit ahead"]);
    let after_one_try = Story::of(1).assigned(0, 0).failed(0, 1, 2).dead(0).committed(3, 1);
    assert_eq!(
        after_one_try.kinds(Order::Partition, None),
        ["lost", "dead letter of nothing", "commit ahead"]
    );
    let though_done = Story::of(1).assigned(0, 0).done(0, 0, 1, 2).dead(0).committed(3, 1);
    assert_eq!(though_done.kinds(Order::Partition, None), ["dead letter of nothing"]);
}

#[test]
fn order_is_per_partition_or_key() {
    let story = Story::of(2).assigned(0, 0).handled(0, 1, "b", (1, 2), Fate::Done).handled(
        0,
        0,
        "a",
        (3, 4),
        Fate::Done,
    );
    assert_eq!(story.kinds(Order::Partition, None), ["order"]);
    assert_eq!(story.kinds(Order::Key, None), [""; 0]);
    let beside = Story::of(2).assigned(0, 0).done(0, 0, 1, 5).done(0, 1, 3, 4);
    assert_eq!(beside.kinds(Order::Key, None), ["order"]);
    assert_eq!(beside.kinds(Order::None, None), [""; 0]);
}

#[test]
fn a_new_assignment_may_begin_again() {
    let story = Story::of(2)
        .assigned(0, 0)
        .done(0, 0, 1, 2)
        .done(0, 1, 2, 3)
        .assigned(5, 0)
        .done(0, 0, 6, 7)
        .done(0, 1, 8, 9);
    assert_eq!(story.kinds(Order::Partition, Some(2)), [""; 0]);
    assert_eq!(story.kinds(Order::Partition, Some(1)), ["replayed"]);
    assert_eq!(story.history.repeated(rules(Order::Partition, None)), 2);
}

#[test]
fn who_lost_a_partition_begins_with_nothing_of_it() {
    let story = Story::of(2).assigned(0, 0).done(0, 0, 1, 2).assigned(3, 1).done(1, 0, 4, 5).done(0, 1, 6, 7);
    assert_eq!(story.kinds(Order::Partition, None), ["not its own"]);
    let given_back =
        Story::of(2).assigned(0, 0).done(0, 0, 1, 2).assigned(3, 1).done(1, 0, 4, 5).assigned(6, 0);
    assert_eq!(given_back.done(0, 1, 7, 8).kinds(Order::Partition, None), [""; 0]);
}

#[test]
fn commits_follow_handling_and_never_go_back() {
    let ahead = Story::of(2).assigned(0, 0).done(0, 0, 1, 2).committed(3, 2).done(0, 1, 4, 5);
    assert_eq!(ahead.kinds(Order::Partition, None), ["commit ahead"]);
    let back = Story::of(2).assigned(0, 0).done(0, 0, 1, 2).done(0, 1, 2, 3).committed(4, 2).committed(5, 1);
    assert_eq!(back.kinds(Order::Partition, None), ["commit went back"]);
}

#[test]
fn everything_is_committed_at_last() {
    let story = Story::of(2).assigned(0, 0).done(0, 0, 1, 2).done(0, 1, 2, 3).committed(4, 1);
    assert_eq!(story.history.not_committed().len(), 1);
    assert_eq!(story.committed(5, 2).history.not_committed(), [""; 0]);
}
