//! Partitions at work, on paused time: what the handler saw, what was committed, what is shown.

mod batches;
mod by_hand;
mod health;
mod panics;
mod watched;

use std::time::Duration;

use kafka_client::ResponseError;
use kafka_client::consumer::{Start, StreamItem};
use kafka_client::records::control::{EndMarker, Ending};
use kafka_client::records::encode::control_batch;

use super::ack::WINDOW;
use super::fixture::{Act, Coordinator, Rig, RigPartition, after, at, settings};
use super::shared::{Counts, PartitionPhase, Signal};
use crate::config::{AckMode, Cadence, CommitStrategy, ListenerSettings, OnExhausted, Ordering, Retry};

fn range(to: i64) -> Vec<i64> {
    (0..to).collect()
}

fn counts(handled: u64, failed: u64, skipped: u64) -> Counts {
    Counts { handled, failed, skipped, ..Counts::default() }
}

#[tokio::test(start_paused = true)]
async fn records_come_in_order_once_and_are_committed() {
    let rig = Rig::new(settings(), false, |_, _| Act::Return);
    let partition = rig.partition(0);
    partition.comes(0, 1000);
    partition.comes(1000, 3);
    after(100).await;
    assert_eq!(rig.script.offsets(), range(1003));
    assert_eq!((partition.phase(), partition.shared.position()), (PartitionPhase::Idle, 1003));
    assert_eq!(partition.shared.counts(), counts(1003, 0, 0));
    after(1000).await;
    assert_eq!(rig.coordinator.offsets(), [1003]);
}

/// With the epoch of the leader before, its next reader would take the log for cut off where that one ended, and go back there.
#[tokio::test(start_paused = true)]
async fn what_is_committed_within_a_batch_has_the_leader_epoch_of_the_batch() {
    let of =
        |ordering| ListenerSettings { ordering, concurrency: Some(1), max_poll_records: 2, ..settings() };
    for (batch, ordering) in [
        (false, Ordering::Partition),
        (true, Ordering::Partition),
        (false, Ordering::Key),
        (false, Ordering::None),
    ] {
        let wait = Duration::from_secs(60);
        let rig =
            Rig::new(of(ordering), batch, move |n, _| if n == 4 { Act::Wait(wait) } else { Act::Return });
        let partition = rig.partition(0);
        partition.comes(0, 10);
        after(3_000).await;
        let committed = rig.coordinator.committed_with_metadata(partition.shared.partition);
        let committed = committed.map(|committed| (committed.offset, committed.leader_epoch));
        assert_eq!(committed, Some((4, 3)), "{ordering:?}, batch: {batch}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_begins_inside_a_batch() {
    let rig = Rig::new(settings(), false, |_, _| Act::Return);
    let partition = rig.partition_from(0, 4, Some(4));
    partition.bytes(4, super::fixture::records(0, 10));
    after(10).await;
    assert_eq!(rig.script.offsets(), (4..10).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn control_batches_are_passed_and_committed() {
    let rig = Rig::new(settings(), false, |_, _| Act::Return);
    let partition = rig.partition(0);
    partition.comes(0, 2);
    let marker = EndMarker {
        ending: Ending::Commit,
        producer_id: 1,
        producer_epoch: 0,
        coordinator_epoch: 0,
        timestamp: 0,
    };
    partition.bytes(2, at(control_batch(&marker).unwrap(), 2));
    after(2000).await;
    assert_eq!((rig.script.offsets(), rig.coordinator.offsets()), (range(2), vec![3]));
}

#[tokio::test(start_paused = true)]
async fn slow_handlers_are_committed_in_the_middle_of_a_batch() {
    let rig = Rig::new(settings(), false, |_, _| Act::Wait(Duration::from_millis(400)));
    let partition = rig.partition(0);
    partition.comes(0, 100);
    after(2_100).await;
    assert_eq!(rig.coordinator.offsets(), [2, 4]);
    assert_eq!(partition.shared.counts().handled, 5);
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_tried_again_in_place_with_back_off() {
    let rig = Rig::new(settings(), false, |offset, attempt| match (offset, attempt) {
        (2, 1 | 2) => Act::Fail("no bank"),
        _ => Act::Return,
    });
    let (partition, other) = (rig.partition(0), rig.partition(1));
    partition.comes(0, 5);
    after(50).await;
    assert_eq!(partition.phase(), PartitionPhase::Retrying);
    assert!(
        partition.shared.cause().unwrap().contains("orders-0 at offset 2, key \"k2\", attempt 1: no bank")
    );
    other.comes(100, 3);
    after(1).await;
    assert_eq!(rig.script.offsets(), [0, 1, 2, 100, 101, 102], "the other partition does not wait");
    after(500).await;
    let seen: Vec<_> = rig.script.seen().into_iter().filter(|(offset, _)| *offset < 100).collect();
    assert_eq!(seen, [(0, 1), (1, 1), (2, 1), (2, 2), (2, 3), (3, 1), (4, 1)]);
    assert_eq!((partition.shared.counts(), partition.shared.cause()), (counts(5, 2, 0), None));
}

#[tokio::test(start_paused = true)]
async fn when_the_tries_are_spent_the_partition_stops_and_keeps_its_offset() {
    let rig =
        Rig::new(settings(), false, |offset, _| if offset == 2 { Act::Fail("never") } else { Act::Return });
    let (partition, other) = (rig.partition(0), rig.partition(1));
    partition.comes(0, 5);
    after(10_000).await;
    assert_eq!(rig.script.offsets(), [0, 1, 2, 2, 2]);
    assert_eq!((partition.phase(), partition.shared.counts()), (PartitionPhase::Stopped, counts(2, 3, 0)));
    assert!(partition.shared.cause().unwrap().contains("never"));
    other.comes(100, 3);
    after(2_000).await;
    assert_eq!((partition.shared.committed(), other.shared.committed()), (2, 103));
    assert!(partition.items.is_closed(), "it is not fetched any more");
    let shared = partition.drain().await;
    assert_eq!((shared.safe().offset, shared.counts()), (2, counts(2, 3, 0)));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_decoded_is_not_tried_again() {
    let settings = ListenerSettings { on_exhausted: OnExhausted::Skip, ..settings() };
    let rig =
        Rig::new(settings, false, |offset, _| if offset % 3 == 1 { Act::Undecodable } else { Act::Return });
    let partition = rig.partition(0);
    partition.comes(0, 9);
    after(2_000).await;
    assert_eq!(rig.script.offsets(), range(9));
    assert_eq!((partition.shared.counts(), partition.shared.committed()), (counts(6, 3, 3), 9));
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_a_failure_like_others() {
    let retry = Retry { attempts: 2, ..Retry::default() };
    let settings = ListenerSettings { on_exhausted: OnExhausted::Skip, retry, ..settings() };
    let rig = Rig::new(settings, false, |offset, _| if offset == 1 { Act::Panic } else { Act::Return });
    let partition = rig.partition(0);
    partition.comes(0, 3);
    after(2_000).await;
    assert_eq!(rig.script.offsets(), [0, 1, 1, 2]);
    assert_eq!(partition.shared.counts(), counts(2, 2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_cannot_be_read_stops_the_partition_at_it() {
    let rig = Rig::new(settings(), false, |_, _| Act::Return);
    let partition = rig.partition(0);
    partition.comes(0, 2);
    let mut broken = super::fixture::records(2, 2).to_vec();
    *broken.last_mut().unwrap() ^= 1;
    partition.bytes(2, broken.into());
    partition.comes(4, 2);
    after(2_000).await;
    assert_eq!((rig.script.offsets(), partition.phase()), (range(2), PartitionPhase::Stopped));
    assert_eq!(partition.shared.committed(), 2);
}

#[tokio::test(start_paused = true)]
async fn each_record_is_committed_before_the_next_with_sync() {
    let settings = ListenerSettings { commit: CommitStrategy::Sync, cadence: Cadence::Record, ..settings() };
    let coordinator = Coordinator::failing(&[ResponseError::NotCoordinator]);
    let rig = Rig::with(coordinator, settings, false, |_, _| Act::Return);
    let partition = rig.partition(0);
    partition.comes(0, 4);
    after(5).await;
    assert_eq!(rig.script.offsets(), [0]);
    after(2_000).await;
    assert_eq!((rig.script.offsets(), rig.coordinator.offsets()), (range(4), vec![1, 1, 2, 3, 4]));
}

#[tokio::test(start_paused = true)]
async fn a_bound_on_records_is_hard() {
    for commit in [CommitStrategy::Sync, CommitStrategy::Async, CommitStrategy::Combined] {
        let cadence = Cadence::Every { records: Some(100), time: None };
        let coordinator = Coordinator::failing(&[ResponseError::NotCoordinator; 30]);
        let rig =
            Rig::with(coordinator, ListenerSettings { commit, cadence, ..settings() }, false, |_, _| {
                Act::Return
            });
        let partition = rig.partition(0);
        partition.comes(0, 1_000);
        after(5_000).await;
        assert_eq!(
            (rig.script.offsets().len(), partition.phase()),
            (100, PartitionPhase::Waiting),
            "{commit:?}"
        );
        after(60_000).await;
        assert_eq!(rig.script.offsets(), range(1_000), "{commit:?}");
        let offsets = rig.coordinator.offsets();
        assert!(offsets.iter().all(|offset| offset % 100 == 0), "{commit:?}: {offsets:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_drained_queue_is_a_batch() {
    let settings = ListenerSettings { cadence: Cadence::Batch, max_poll_records: 40, ..settings() };
    let rig = Rig::new(settings, false, |_, _| Act::Return);
    let partition = rig.partition(0);
    partition.comes(0, 10);
    after(50).await;
    partition.comes(10, 10);
    partition.comes(20, 10);
    after(50).await;
    assert_eq!(rig.coordinator.offsets(), [10, 30]);
    let slow = rig.partition(1);
    slow.comes(0, 100);
    after(500).await;
    assert_eq!((slow.shared.committed(), partition.phase()), (100, PartitionPhase::Idle));
}

#[tokio::test(start_paused = true)]
async fn a_sync_cadence_of_time_stops_the_loop_for_its_commit() {
    let settings = ListenerSettings { commit: CommitStrategy::Sync, ..settings() };
    let rig = Rig::new(settings, false, |_, _| Act::Wait(Duration::from_millis(300)));
    let partition = rig.partition(0);
    partition.comes(0, 10);
    after(1_205).await;
    // Due at one second, made at the next record's boundary.
    assert_eq!((rig.coordinator.offsets(), rig.script.offsets().len()), (vec![4], 4));
    after(10).await;
    assert_eq!((partition.shared.committed(), rig.script.offsets().len()), (4, 5));
}

#[tokio::test(start_paused = true)]
async fn draining_finishes_the_handler_in_hand_and_no_more() {
    let rig = Rig::new(settings(), false, |_, _| Act::Wait(Duration::from_millis(400)));
    let partition = rig.partition(0);
    partition.comes(0, 10);
    after(500).await;
    let shared = partition.drain().await;
    assert_eq!((rig.script.offsets(), shared.safe().offset, shared.counts().handled), (range(2), 2, 2));
}

#[tokio::test(start_paused = true)]
async fn aborting_drops_the_handler_in_hand() {
    let rig = Rig::new(settings(), false, |_, _| Act::Wait(Duration::from_secs(3600)));
    let partition = rig.partition(0);
    partition.comes(0, 10);
    after(500).await;
    partition.shared.raise(Signal::Abort);
    partition.task.await.unwrap();
    assert_eq!((partition.shared.safe().offset, partition.shared.counts().handled), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_wait_for_the_next_try_is_no_reason_to_stay() {
    let retry =
        Retry { initial: Duration::from_secs(600), max: Duration::from_secs(600), ..Retry::default() };
    let rig = Rig::new(ListenerSettings { retry, ..settings() }, false, |offset, _| match offset {
        1 => Act::Fail("no"),
        _ => Act::Return,
    });
    let partition = rig.partition(0);
    partition.comes(0, 10);
    after(500).await;
    let begin = tokio::time::Instant::now();
    let shared = partition.drain().await;
    assert!(begin.elapsed() < Duration::from_millis(10));
    assert_eq!((shared.safe().offset, shared.counts()), (1, counts(1, 1, 0)));
}

/// So many partitions with so many records each, and handlers that take 100 ms, two at once.
fn two_at_once(partitions: i32, records: i64) -> (Rig, Vec<RigPartition>) {
    let settings = ListenerSettings { concurrency: Some(2), ..settings() };
    let rig = Rig::new(settings, false, |_, _| Act::Wait(Duration::from_millis(100)));
    let partitions: Vec<_> = (0..partitions).map(|number| rig.partition(number)).collect();
    partitions.iter().for_each(|partition| partition.comes(0, records));
    (rig, partitions)
}

#[tokio::test(start_paused = true)]
async fn concurrency_bounds_handlers_over_all_partitions_and_goes_round() {
    let (rig, partitions) = two_at_once(5, 100);
    after(5_000).await;
    assert_eq!(rig.script.most_running(), 2);
    let handled: Vec<u64> = partitions.iter().map(|partition| partition.shared.counts().handled).collect();
    assert!(handled.iter().all(|handled| (12..=28).contains(handled)), "{handled:?}");
}

#[tokio::test(start_paused = true)]
async fn concurrency_is_changed_while_partitions_are_at_work() {
    let (rig, _partitions) = two_at_once(8, 1000);
    for most in [2, 5, 1] {
        rig.set_concurrency(most);
        // Those that run go on, and partitions that waited for their turn have it.
        after(1_500).await;
        let begun = rig.script.offsets().len();
        after(2_000).await;
        let in_two_seconds = rig.script.offsets().len() - begun;
        assert!((19 * most..=21 * most).contains(&in_two_seconds), "{in_two_seconds} with {most}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_position_begins_a_new_epoch() {
    let rig = Rig::new(settings(), false, |_, _| Act::Return);
    let partition = rig.partition(0);
    partition.comes(0, 100);
    after(1_500).await;
    let start = Start { offset: 10, committed: None, epoch: 2 };
    partition.items.send(StreamItem::Moved(start)).unwrap();
    partition.comes(10, 5);
    after(2_000).await;
    assert_eq!(rig.coordinator.offsets(), [100, 15]);
    assert_eq!(rig.script.offsets().len(), 105);
}

#[tokio::test(start_paused = true)]
async fn a_position_that_was_moved_is_committed_though_nothing_was_handled_there() {
    for (before, to) in [(10, 2), (1_500, 2), (1_500, 0)] {
        for in_time in [true, false] {
            let rig = Rig::new(settings(), false, |_, _| Act::Return);
            let partition = rig.partition(0);
            partition.comes(0, 5);
            after(before).await;
            let start = Start { offset: to, committed: None, epoch: 2 };
            partition.items.send(StreamItem::Moved(start)).unwrap();
            after(if in_time { 10 } else { 2_500 }).await;
            if in_time {
                rig.give_back(partition).await;
            }
            assert_eq!(rig.coordinator.offsets().last(), Some(&to), "{before} {in_time}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_stop_left_undone_is_forgotten_when_the_listener_starts_again() {
    let rig = Rig::new(settings(), false, |_, _| Act::Wait(Duration::from_secs(60)));
    let partition = rig.partition(0);
    partition.comes(0, 2);
    after(10).await;
    rig.board.add_undone(&partition.shared);
    assert_eq!(rig.board.undone().iter().map(|undone| undone.offset).collect::<Vec<_>>(), [0]);
    rig.board.begin();
    assert!(rig.board.undone().is_empty());
}
