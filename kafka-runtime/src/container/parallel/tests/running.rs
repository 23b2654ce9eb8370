//! Partitions at work, on paused time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kafka_client::TopicPartition;
use kafka_client::consumer::{Chunk, Start, StreamItem};
use kafka_client::group::Lease;
use kafka_client::records::Record;
use tokio::time::Instant;

use super::super::desk::Item;
use super::super::{Desk, Remembered, window};
use crate::config::{Cadence, CommitStrategy, ListenerSettings, OnExhausted, Ordering, Retry};
use crate::container::fixture::{Act, Coordinator, Rig, RigPartition, after, keyed, settings};
use crate::container::shared::{PartitionPhase, Signal};

const TEN: Duration = Duration::from_millis(10);

fn by_key(concurrency: usize) -> ListenerSettings {
    let retry = Retry { jitter: 0.0, ..Retry::default() };
    ListenerSettings { ordering: Ordering::Key, concurrency: Some(concurrency), retry, ..settings() }
}

/// Records `0..count`, in batches of a hundred.
fn fill(partition: &RigPartition, count: i64, key: fn(i64) -> Option<i64>) {
    for base in (0..count).step_by(100) {
        partition.bytes(base, keyed(base, 100.min(count - base), key));
    }
}

/// Orders of about ten thousand customers, in no particular order.
fn customer(offset: i64) -> Option<i64> {
    let mut z = (offset as u64).wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    Some(((z ^ (z >> 31)) % 10_007) as i64)
}

/// What part of the ideal rate handlers of 10 ms come to, counted in paused time.
async fn part_of_ideal(concurrency: usize, partitions: i32, each: i64) -> f64 {
    let rig = Rig::new(by_key(concurrency), false, |_, _| Act::Wait(TEN));
    let held: Vec<_> = (0..partitions).map(|number| rig.partition(number)).collect();
    let begin = Instant::now();
    for partition in &held {
        fill(partition, each, customer);
    }
    let total = each * i64::from(partitions);
    while rig.script.settled_calls() < usize::try_from(total).unwrap() {
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert!(begin.elapsed() < Duration::from_secs(600));
    }
    assert_eq!(rig.script.most_running(), concurrency, "all of them, and no more");
    let ideal = TEN.as_secs_f64() * total as f64 / concurrency as f64;
    ideal / begin.elapsed().as_secs_f64()
}

#[tokio::test(start_paused = true)]
async fn handlers_of_10_ms_come_to_95_percent_of_the_ideal() {
    for (concurrency, partitions, each) in
        [(64, 1, 12_800), (64, 4, 3_200), (1024, 1, 102_400), (1024, 4, 25_600)]
    {
        let part = part_of_ideal(concurrency, partitions, each).await;
        assert!(part >= 0.95, "{part:.3} of the ideal at {concurrency} over {partitions} partitions");
    }
}

#[tokio::test(start_paused = true)]
async fn keys_are_in_order_and_side_by_side_and_no_key_waits_for_another() {
    let rig = Rig::new(by_key(64), false, |_, _| Act::Wait(TEN));
    rig.script.watch_lanes(|offset| offset % 7);
    let partition = rig.partition(0);
    fill(&partition, 700, |offset| Some(offset % 7));
    // The seven keys keep seven handlers busy all the time.
    after(1_001).await;
    assert_eq!((rig.script.settled().len(), rig.script.most_running()), (700, 7));
    for key in 0..7 {
        let of_key: Vec<_> = rig.script.offsets().into_iter().filter(|offset| offset % 7 == key).collect();
        assert!(of_key.is_sorted(), "{of_key:?}");
    }
    after(1_100).await;
    assert_eq!((partition.shared.committed(), partition.phase()), (700, PartitionPhase::Idle));
}

#[tokio::test(start_paused = true)]
async fn records_without_a_key_and_without_order_wait_for_nobody() {
    for ordering in [Ordering::Key, Ordering::None] {
        let rig = Rig::new(ListenerSettings { ordering, ..by_key(10) }, false, |_, _| Act::Wait(TEN));
        let partition = rig.partition(0);
        fill(&partition, 100, if ordering == Ordering::Key { |_| None } else { |_| Some(1) });
        after(101).await;
        assert_eq!((rig.script.settled().len(), rig.script.most_running()), (100, 10));
        drop(partition);
    }
}

#[tokio::test(start_paused = true)]
async fn only_the_key_of_a_failed_record_waits() {
    let rig = Rig::new(by_key(4), false, |offset, attempt| match (offset, attempt) {
        (2, 1 | 2) => Act::Fail("no bank"),
        _ => Act::Wait(TEN),
    });
    rig.script.watch_lanes(|offset| offset % 5);
    let partition = rig.partition(0);
    fill(&partition, 50, |offset| Some(offset % 5));
    after(150).await;
    // 100 ms and 200 ms: everything else has passed it, the offset is held, and its key is in order.
    assert_eq!((rig.script.settled().len(), partition.shared.position()), (40, 2));
    assert_eq!(partition.phase(), PartitionPhase::Retrying);
    assert!(partition.shared.cause().unwrap().contains("orders-0 at offset 2"));
    after(1_000).await;
    let of_key: Vec<_> = rig.script.seen().into_iter().filter(|(offset, _)| offset % 5 == 2).collect();
    assert_eq!(of_key[..4], [(2, 1), (2, 2), (2, 3), (7, 1)]);
    assert_eq!((rig.script.settled().len(), partition.shared.position()), (50, 50));
    assert_eq!((partition.shared.counts().failed, partition.shared.cause()), (2, None));
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_dead_letter_holds_up_its_key_and_no_worker() {
    let settings = ListenerSettings {
        on_exhausted: OnExhausted::DeadLetter,
        retry: Retry { attempts: 1, ..Retry::default() },
        ..by_key(1)
    };
    let rig =
        Rig::new(settings, false, |offset, _| if offset == 2 { Act::Fail("no bank") } else { Act::Return });
    rig.postbox.take(Duration::from_secs(60));
    let partition = rig.partition(0);
    fill(&partition, 50, |offset| Some(offset % 5));
    after(1_000).await;
    let handled =
        |wanted: fn(i64) -> bool| rig.script.offsets().into_iter().filter(|offset| wanted(*offset)).count();
    assert_eq!((handled(|offset| offset % 5 == 2), handled(|offset| offset % 5 != 2)), (1, 40));
    assert_eq!(partition.shared.position(), 2, "its offset waits for the letter");
    after(60_000).await;
    assert_eq!((rig.script.offsets().len(), rig.postbox.posted().len()), (50, 1));
    after(1_100).await;
    assert_eq!(partition.shared.committed(), 50);
}

#[tokio::test(start_paused = true)]
async fn what_is_finished_beyond_a_parked_record_is_not_handled_again() {
    let coordinator = Coordinator::default();
    let rig = Rig::with(coordinator.clone(), by_key(4), false, |offset, _| match offset {
        2 => Act::Fail("no bank"),
        _ => Act::Return,
    });
    let partition = rig.partition(0);
    fill(&partition, 500, |offset| Some(offset % 10));
    after(1_050).await;
    let name = partition.shared.partition;
    assert_eq!(coordinator.committed(name), Some(2));
    // The offset stays; what is finished meanwhile is committed all the same.
    for base in (500..1_000).step_by(100) {
        partition.bytes(base, keyed(base, 100, |offset| Some(offset % 10)));
    }
    after(2_000).await;
    assert_eq!(coordinator.committed(name), Some(2));
    // Lost without a word: killed.
    partition.shared.raise(Signal::Abort);
    partition.task.await.unwrap();

    let rig = Rig::with(coordinator.clone(), by_key(4), false, |_, _| Act::Return);
    let second = rig.partition_at(0, 2, coordinator.committed_with_metadata(name));
    for base in (0..1_000).step_by(100) {
        second.bytes(2, keyed(base, 100, |offset| Some(offset % 10)));
    }
    after(2_000).await;
    let left: Vec<i64> = (0..1_000).filter(|offset| offset % 10 == 2).collect();
    assert_eq!((rig.script.offsets(), second.shared.committed()), (left, 1_000));
}

#[tokio::test(start_paused = true)]
async fn what_an_earlier_owner_remembered_outlives_a_second_crash() {
    let coordinator = Coordinator::default();
    let first = Rig::with(coordinator.clone(), by_key(4), false, |offset, _| match offset {
        2 | 50 | 300 => Act::Fail("no bank"),
        _ => Act::Return,
    });
    let partition = first.partition(0);
    fill(&partition, 400, Some);
    after(1_050).await;
    let name = partition.shared.partition;
    partition.shared.raise(Signal::Abort);
    partition.task.await.unwrap();
    // The second one sees only the first batch before it dies, and finishes something of it.
    let second = Rig::with(coordinator.clone(), by_key(4), false, |offset, _| match offset {
        2 => Act::Fail("no bank"),
        _ => Act::Return,
    });
    let partition = second.partition_at(0, 2, coordinator.committed_with_metadata(name));
    partition.bytes(2, keyed(0, 100, Some));
    after(1_050).await;
    partition.shared.raise(Signal::Abort);
    partition.task.await.unwrap();
    assert_eq!(second.script.settled().into_iter().collect::<Vec<_>>(), [50]);
    assert_eq!(second.script.offsets().into_iter().filter(|offset| *offset != 2).count(), 1);
    let committed = coordinator.committed_with_metadata(name).unwrap();
    let known: Vec<_> = Remembered::decode(&committed.metadata, committed.offset).ranges().collect();
    assert_eq!((committed.offset, known), (2, vec![3..300, 301..400]));
}

#[tokio::test(start_paused = true)]
async fn metadata_that_the_broker_refuses_is_made_smaller() {
    let coordinator = Coordinator::default();
    coordinator.refuse_metadata_above(60);
    let rig = Rig::with(coordinator.clone(), by_key(4), false, |offset, _| match offset % 3 {
        0 => Act::Fail("no bank"),
        _ => Act::Return,
    });
    let partition = rig.partition(0);
    fill(&partition, 900, Some);
    after(2_050).await;
    let committed = coordinator.committed_with_metadata(partition.shared.partition).unwrap();
    assert_eq!(committed.offset, 0);
    assert!((20..=60).contains(&committed.metadata.len()), "{}", committed.metadata);
}

fn bounded(records: u32, remember: bool) -> ListenerSettings {
    let cadence = Cadence::Every { records: Some(records), time: None };
    ListenerSettings { cadence, remember, ..by_key(16) }
}

#[tokio::test(start_paused = true)]
async fn the_bound_on_repetition_is_hard_whatever_is_parked_and_remembered() {
    for (records, remember) in [(1, true), (1, false), (7, true), (7, false), (100, true), (100, false)] {
        let coordinator = Coordinator::default();
        let rig =
            Rig::with(
                coordinator.clone(),
                bounded(records, remember),
                false,
                |offset, attempt| match attempt {
                    1 if offset % 50 == 3 => Act::Fail("for now"),
                    _ => Act::Wait(TEN),
                },
            );
        rig.script.watch_lanes(|offset| offset % 20);
        coordinator.guard(&rig.script);
        let partition = rig.partition(0);
        fill(&partition, 400, |offset| Some(offset % 20));
        let begin = Instant::now();
        while rig.script.settled().len() < 400 {
            after(1).await;
            let repeated = coordinator.repeated_after_a_crash(&rig.script, partition.shared.partition);
            assert!(repeated <= records as usize, "{repeated} at a bound of {records}, remember {remember}");
            assert!(
                begin.elapsed() < Duration::from_secs(60),
                "{:?} {:?}",
                partition.shared,
                rig.script.settled()
            );
        }
        after(3_000).await;
        assert_eq!(partition.shared.committed(), 400);
    }
}

#[tokio::test(start_paused = true)]
async fn a_bound_that_is_not_reached_costs_nothing() {
    let rig = Rig::new(bounded(500, true), false, |_, _| Act::Wait(TEN));
    let partition = rig.partition(0);
    fill(&partition, 1_600, Some);
    after(1_010).await;
    assert_eq!(rig.script.settled().len(), 1_600, "{:?}", partition.shared);
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_never_returns_holds_its_key_and_a_bounded_window() {
    let rig = Rig::new(by_key(8), false, |offset, _| match offset {
        3 => Act::Wait(Duration::from_secs(1_000_000)),
        _ => Act::Return,
    });
    let partition = rig.partition(0);
    fill(&partition, 50_000, |offset| Some(offset % 10));
    after(5_000).await;
    let seen = i64::try_from(rig.script.seen().len()).unwrap();
    let open = i64::try_from(window(8)).unwrap();
    // Every tenth record is of its key: the window is full of them, and the others have passed.
    assert_eq!(seen, 3 + 1 + (open - 1) * 9, "{:?}", partition.shared);
    assert_eq!(partition.shared.committed(), 3);
    partition.shared.raise(Signal::Abort);
    partition.task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn when_the_tries_are_spent_the_partition_stops_and_what_is_in_hand_finishes() {
    let settings = ListenerSettings {
        on_exhausted: OnExhausted::Stop,
        retry: Retry { attempts: 1, ..Retry::default() },
        ..by_key(4)
    };
    let rig = Rig::new(settings, false, |offset, _| match offset {
        2 => Act::Fail("never"),
        _ => Act::Wait(TEN),
    });
    let partition = rig.partition(0);
    fill(&partition, 100, Some);
    after(3_000).await;
    assert_eq!((partition.phase(), partition.shared.position()), (PartitionPhase::Stopped, 2));
    assert_eq!((rig.script.offsets(), rig.script.settled().len()), (vec![0, 1, 2], 2));
    assert!(partition.shared.cause().unwrap().contains("never") && partition.items.is_closed());
    assert_eq!(partition.shared.committed(), 2);
    partition.drain().await;
}

#[tokio::test(start_paused = true)]
async fn drained_what_is_in_hand_finishes_and_nothing_else_begins() {
    let rig = Rig::new(by_key(4), false, |_, _| Act::Wait(TEN));
    let partition = rig.partition(0);
    fill(&partition, 100, Some);
    after(15).await;
    rig.give_back(partition).await;
    assert_eq!(rig.script.offsets().len(), 8);
    assert_eq!(rig.coordinator.offsets(), [8]);
}

#[tokio::test(start_paused = true)]
async fn lost_handlers_in_hand_are_dropped_and_nothing_is_committed() {
    let rig = Rig::new(by_key(4), false, |_, _| Act::Wait(TEN));
    let partition = rig.partition(0);
    fill(&partition, 100, Some);
    after(15).await;
    let shared = rig.lose(partition).await;
    after(1_000).await;
    assert_eq!((rig.script.settled().len(), shared.position()), (4, 4));
    assert_eq!(rig.coordinator.offsets(), [0; 0]);
}

#[tokio::test]
async fn what_is_finished_after_the_end_counts_for_nothing() {
    let desk = Desk::new(0, 1, None, true);
    desk.begin(Remembered::default(), Lease::forever().life());
    let partition = TopicPartition::new("orders", 0);
    let batch = Chunk::from_bytes(partition, 1, 0, keyed(0, 2, Some)).next_batch().unwrap().unwrap();
    let batch = Arc::new(batch);
    let item = |record: Record<'_>| {
        (record.offset, None, Item { batch: Arc::clone(&batch), position: record.position })
    };
    desk.admit(3, batch.records().map(Result::unwrap).map(item));
    let taken =
        [desk.take(Instant::now()), desk.take(Instant::now())].map(|ticket| ticket.unwrap().taken.offset);
    desk.finish(taken[0]);
    desk.abort();
    assert!(!desk.finish(taken[1]) && desk.take(Instant::now()).is_none());
    assert_eq!((taken, desk.position(), desk.safe().covered), ([0, 1], 1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_moved_position_begins_anew_when_nothing_runs_any_more() {
    let rig = Rig::new(by_key(4), false, |_, _| Act::Wait(TEN));
    rig.script.watch_lanes(|offset| offset % 100);
    let partition = rig.partition(0);
    fill(&partition, 100, Some);
    after(15).await;
    partition.items.send(StreamItem::Moved(Start { offset: 0, committed: None, epoch: 2 })).unwrap();
    fill(&partition, 20, Some);
    after(2_000).await;
    let expected: Vec<i64> = (0..8).chain(0..20).collect();
    assert_eq!((rig.script.offsets(), partition.shared.committed()), (expected, 20));
}

#[tokio::test(start_paused = true)]
async fn concurrency_changes_while_it_runs() {
    let rig = Rig::new(by_key(2), false, |_, _| Act::Wait(TEN));
    let partitions = [rig.partition(0), rig.partition(1)];
    partitions.iter().for_each(|partition| fill(partition, 1_000, Some));
    let mut before = 0;
    for (most, expected) in [(2, 20), (10, 100), (3, 30), (1, 10), (64, 640)] {
        rig.set_concurrency(most);
        after(10).await;
        before += rig.script.seen().len() - before;
        after(100).await;
        assert_eq!(rig.script.seen().len() - before, expected, "{most} at once");
        before = rig.script.seen().len();
    }
}

#[tokio::test(start_paused = true)]
async fn commits_follow_strategy_and_cadence() {
    let times = [
        Cadence::Record,
        Cadence::Batch,
        Cadence::default(),
        Cadence::Every { records: Some(9), time: None },
    ];
    for strategy in [CommitStrategy::Sync, CommitStrategy::Async, CommitStrategy::Combined] {
        for cadence in times {
            let settings = ListenerSettings { commit: strategy, cadence, ..by_key(8) };
            let rig = Rig::new(settings, false, |_, _| Act::Wait(TEN));
            rig.coordinator.guard(&rig.script);
            let partition = rig.partition(0);
            fill(&partition, 100, |offset| Some(offset % 30));
            after(8_000).await;
            assert_eq!(partition.shared.committed(), 100, "{strategy:?} {cadence:?}");
            assert!(rig.coordinator.offsets().is_sorted());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn each_key_sees_each_of_its_records_once() {
    let rig = Rig::new(by_key(16), false, |offset, attempt| match (offset % 11, attempt) {
        (0, 1) => Act::Fail("once"),
        (1, 1) => Act::Panic,
        (2, _) => Act::Wait(TEN),
        _ => Act::Return,
    });
    rig.script.watch_lanes(|offset| offset % 13);
    let partition = rig.partition(0);
    fill(&partition, 1_000, |offset| Some(offset % 13));
    after(60_000).await;
    let mut calls: BTreeMap<i64, u32> = BTreeMap::new();
    rig.script.seen().into_iter().for_each(|(offset, _)| *calls.entry(offset).or_default() += 1);
    assert!(calls.iter().all(|(offset, calls)| *calls == if offset % 11 < 2 { 2 } else { 1 }));
    assert_eq!((calls.len(), partition.shared.committed()), (1_000, 1_000));
}
