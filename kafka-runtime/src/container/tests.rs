//! Partitions at work, on paused time: what the handler saw, what was committed, what is shown.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use kafka_client::ResponseError;
use kafka_client::consumer::{Start, StreamItem};
use kafka_client::records::control::{EndMarker, Ending};
use kafka_client::records::encode::control_batch;

use super::ack::WINDOW;
use super::fixture::{Act, Coordinator, Rig, after, at, settings};
use super::shared::{Counts, PartitionPhase, Shared, Signal};
use crate::config::{AckMode, Cadence, CommitStrategy, ListenerSettings, OnExhausted, Retry};

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

#[tokio::test(start_paused = true)]
async fn concurrency_bounds_handlers_over_all_partitions_and_goes_round() {
    let settings = ListenerSettings { concurrency: Some(2), ..settings() };
    let rig = Rig::new(settings, false, |_, _| Act::Wait(Duration::from_millis(100)));
    let partitions: Vec<_> = (0..5).map(|number| rig.partition(number)).collect();
    for partition in &partitions {
        partition.comes(0, 100);
    }
    after(5_000).await;
    assert_eq!(rig.script.most_running(), 2);
    let handled: Vec<u64> = partitions.iter().map(|partition| partition.shared.counts().handled).collect();
    assert!(handled.iter().all(|handled| (12..=28).contains(handled)), "{handled:?}");
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

// Acknowledgement by hand.

fn by_hand() -> ListenerSettings {
    ListenerSettings { ack: AckMode::Manual, ..settings() }
}

#[tokio::test(start_paused = true)]
async fn records_after_an_open_one_are_delivered_and_not_committed() {
    let rig = Rig::new(by_hand(), false, |_, _| Act::KeepAck);
    let partition = rig.partition(0);
    partition.comes(0, 5);
    after(10).await;
    assert_eq!(rig.script.offsets(), range(5));
    for offset in [4, 0, 1, 3] {
        rig.script.take_ack(offset).ack().unwrap();
    }
    after(2_000).await;
    assert_eq!(rig.coordinator.offsets(), [2]);
    rig.script.take_ack(2).ack().unwrap();
    after(2_000).await;
    assert_eq!(rig.coordinator.offsets(), [2, 5]);
}

#[tokio::test(start_paused = true)]
async fn immediate_acknowledgements_are_committed_at_once() {
    let settings = ListenerSettings { ack: AckMode::ManualImmediate, ..settings() };
    let rig = Rig::new(settings, false, |_, _| Act::KeepAck);
    let partition = rig.partition(0);
    partition.comes(0, 2);
    after(10).await;
    rig.script.take_ack(0).ack().unwrap();
    after(15).await;
    assert_eq!(partition.shared.committed(), 1);
}

#[tokio::test(start_paused = true)]
async fn acknowledgements_that_come_while_it_is_idle_follow_the_cadence() {
    let settings = ListenerSettings { cadence: Cadence::Record, ..by_hand() };
    let rig = Rig::new(settings, false, |_, _| Act::KeepAck);
    let partition = rig.partition(0);
    partition.comes(0, 2);
    after(10).await;
    rig.script.take_ack(0).ack().unwrap();
    after(15).await;
    assert_eq!(partition.shared.committed(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_or_dropped_is_delivered_again() {
    let rig = Rig::new(by_hand(), false, |offset, attempt| match (offset, attempt) {
        (1, 1) => Act::DropAck,
        (2, 1) => Act::KeepAck,
        _ => Act::Return,
    });
    let partition = rig.partition(0);
    partition.comes(0, 5);
    after(10).await;
    rig.script.take_ack(2).nack("no stock");
    after(3_000).await;
    let mut again: Vec<_> = rig.script.seen().into_iter().filter(|(_, attempt)| *attempt > 1).collect();
    again.sort_unstable();
    assert_eq!(again, [(1, 2), (2, 2)]);
    assert_eq!((partition.shared.committed(), partition.shared.position()), (5, 5));
    assert_eq!(partition.shared.counts().failed, 2);
}

#[tokio::test(start_paused = true)]
async fn a_delivery_that_is_never_acknowledged_stops_the_partition() {
    let rig = Rig::new(by_hand(), false, |offset, _| if offset == 1 { Act::DropAck } else { Act::Return });
    let partition = rig.partition(0);
    partition.comes(0, 5);
    after(10_000).await;
    assert_eq!((partition.phase(), partition.shared.committed()), (PartitionPhase::Stopped, 1));
    assert_eq!(rig.script.offsets().iter().filter(|offset| **offset == 1).count(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_full_window_pauses_delivery_but_not_what_failed() {
    let rig = Rig::new(by_hand(), false, |offset, attempt| match (offset, attempt) {
        (0, 1) => Act::DropAck,
        (0, _) => Act::Return,
        _ => Act::KeepAck,
    });
    let partition = rig.partition(0);
    let all = i64::try_from(WINDOW).unwrap() + 500;
    partition.comes(0, all);
    after(50).await;
    assert_eq!(rig.script.offsets().len(), WINDOW);
    after(10_000).await;
    // The first was delivered again, so one more fits.
    assert_eq!(rig.script.seen().iter().filter(|(offset, _)| *offset == 0).count(), 2);
    assert_eq!(rig.script.offsets().len(), WINDOW + 2);
    for offset in 1..=500 {
        rig.script.take_ack(offset).ack().unwrap();
    }
    after(2_000).await;
    assert_eq!((rig.script.offsets().len(), partition.shared.committed()), (WINDOW + 501, 501));
}

/// What is open counts for the bound, and what is acknowledged makes room when it is committed: at once if it is much,
/// soon if it is little and nobody else does anything.
#[tokio::test(start_paused = true)]
async fn what_is_open_and_what_is_not_committed_are_bounded_together() {
    let cadence = Cadence::Every { records: Some(10), time: None };
    let rig = Rig::new(ListenerSettings { cadence, ..by_hand() }, false, |_, _| Act::KeepAck);
    let partition = rig.partition(0);
    partition.comes(0, 40);
    after(5_000).await;
    assert_eq!((rig.script.offsets(), rig.coordinator.offsets()), (range(10), vec![]));
    for offset in [9, 5] {
        rig.script.take_ack(offset).ack().unwrap();
    }
    after(5_000).await;
    assert_eq!((rig.script.offsets(), rig.coordinator.offsets()), (range(10), vec![]), "the first is open");
    rig.script.take_ack(0).ack().unwrap();
    after(50).await;
    assert_eq!(rig.script.offsets(), range(10), "one of ten is no good reason for a commit");
    after(100).await;
    assert_eq!((rig.script.offsets(), rig.coordinator.offsets()), (range(11), vec![1]));
    for offset in [1, 2, 3] {
        rig.script.take_ack(offset).ack().unwrap();
    }
    after(20).await;
    assert_eq!((rig.script.offsets(), rig.coordinator.offsets()), (range(14), vec![1, 4]));
    rig.script.take_ack(4).ack().unwrap();
    after(200).await;
    assert_eq!((rig.script.offsets(), rig.coordinator.offsets()), (range(16), vec![1, 4, 6]));
}

#[tokio::test(start_paused = true)]
async fn draining_waits_for_acknowledgements_under_way_and_then_refuses_them() {
    let rig = Rig::new(by_hand(), false, |_, _| Act::KeepAck);
    let partition = rig.partition(0);
    partition.comes(0, 3);
    after(10).await;
    let acks: Vec<_> = (0..3).map(|offset| rig.script.take_ack(offset)).collect();
    let waiting = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(300)).await;
        acks.into_iter().for_each(|ack| ack.ack().unwrap());
    });
    let shared = partition.drain().await;
    waiting.await.unwrap();
    assert_eq!(shared.safe().offset, 3);

    let partition = rig.partition(1);
    partition.comes(0, 1);
    after(10).await;
    partition.shared.raise(Signal::Drain);
    after(1_000).await;
    partition.shared.raise(Signal::Abort);
    partition.task.await.unwrap();
    rig.script.take_ack(0).ack().unwrap_err();
}

// Batches.

fn of(most: usize) -> ListenerSettings {
    ListenerSettings { max_poll_records: most, ..settings() }
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_what_is_queued_up_to_its_bound() {
    let rig = Rig::new(of(10), true, |_, _| Act::Return);
    let partition = rig.partition(0);
    for base in [0, 4, 8] {
        partition.comes(base, 4);
    }
    after(2_000).await;
    assert_eq!(rig.script.batches(), [(0..10).collect::<Vec<_>>(), vec![10, 11]]);
    partition.comes(12, 25);
    after(2_000).await;
    assert_eq!(rig.script.batches().iter().map(Vec::len).collect::<Vec<_>>(), [10, 2, 10, 10, 5]);
    assert_eq!((partition.shared.committed(), partition.shared.counts()), (37, counts(37, 0, 0)));
}

/// A batch is no larger than what a crash may repeat, and goes when it fits whole.
#[tokio::test(start_paused = true)]
async fn a_batch_fits_into_the_bound_on_repetition() {
    let cadence = Cadence::Every { records: Some(10), time: None };
    let rig = Rig::new(ListenerSettings { cadence, ..of(500) }, true, |_, _| Act::Return);
    let partition = rig.partition(0);
    partition.comes(0, 8);
    after(100).await;
    let sizes = || rig.script.batches().iter().map(Vec::len).collect::<Vec<_>>();
    assert_eq!((sizes(), rig.coordinator.offsets()), (vec![8], vec![]));
    partition.comes(8, 25);
    after(100).await;
    assert_eq!((sizes(), rig.coordinator.offsets()), (vec![8, 10, 10, 5], vec![8, 18, 28]));
}

/// Several that return at once go one after the other, and the last of them has to fit too.
#[tokio::test(start_paused = true)]
async fn batches_fit_into_the_bound_together() {
    let cadence = Cadence::Every { records: Some(50), time: None };
    let rig = Rig::new(ListenerSettings { cadence, ..of(20) }, true, |_, _| Act::Return);
    let partition = rig.partition(0);
    partition.comes(0, 130);
    after(100).await;
    let sizes: Vec<_> = rig.script.batches().iter().map(Vec::len).collect();
    assert_eq!(sizes, [20, 20, 20, 20, 20, 20, 10]);
    assert_eq!(rig.coordinator.offsets(), [40, 80, 130]);
}

/// Who gathers batches before any of them is acknowledged gets what the bound has room for.
#[tokio::test(start_paused = true)]
async fn by_hand_a_batch_is_cut_to_the_room_that_there_is() {
    let cadence = Cadence::Every { records: Some(10), time: None };
    let settings = ListenerSettings { cadence, ack: AckMode::Manual, ..of(500) };
    let rig = Rig::new(settings, true, |_, _| Act::KeepAck);
    let partition = rig.partition(0);
    let sizes = || rig.script.batches().iter().map(Vec::len).collect::<Vec<_>>();
    partition.comes(0, 6);
    after(10).await;
    partition.comes(6, 20);
    after(1_000).await;
    assert_eq!(sizes(), [6, 4]);
    rig.script.take_ack(5).ack().unwrap();
    after(1_000).await;
    assert_eq!((sizes(), rig.coordinator.offsets()), (vec![6, 4, 6], vec![6]));
    for last in [9, 15] {
        rig.script.take_ack(last).ack().unwrap();
    }
    after(1_000).await;
    assert_eq!((sizes(), rig.coordinator.offsets()), (vec![6, 4, 6, 10], vec![6, 16]));
}

/// What is left of a batch behind a record that was skipped is in hand: it waits for no room.
#[tokio::test(start_paused = true)]
async fn the_rest_of_a_batch_goes_on_whatever_is_asked_for_meanwhile() {
    let cadence = Cadence::Every { records: Some(10), time: None };
    for ack in [AckMode::Auto, AckMode::Manual] {
        for signal in [Signal::Commit, Signal::Look] {
            let shared: Arc<OnceLock<Arc<Shared>>> = Arc::default();
            let on_exhausted = OnExhausted::Skip;
            let rig = Rig::new(ListenerSettings { cadence, ack, on_exhausted, ..of(10) }, true, {
                let shared = Arc::clone(&shared);
                move |offset, _| {
                    if offset > 0 {
                        return Act::Return;
                    }
                    shared.get().unwrap().raise(signal);
                    Act::Undecodable
                }
            });
            let partition = rig.partition(0);
            shared.set(Arc::clone(&partition.shared)).unwrap();
            partition.comes(0, 30);
            after(5_000).await;
            let settled = rig.script.settled();
            assert_eq!(settled, (1..30).collect(), "{ack:?}, {signal:?}: {:?}", partition.shared);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_before_the_failure_is_settled_and_the_rest_tried_again() {
    let rig = Rig::new(of(10), true, |offset, attempt| match (offset, attempt) {
        (3, 1) | (7, 1 | 2) => Act::Fail("no"),
        _ => Act::Return,
    });
    let partition = rig.partition(0);
    partition.comes(0, 10);
    after(10).await;
    assert_eq!((partition.shared.position(), partition.shared.counts().handled), (3, 3));
    after(5_000).await;
    let firsts: Vec<i64> = rig.script.batches().iter().map(|batch| batch[0]).collect();
    assert_eq!(firsts, [0, 3, 7, 7]);
    assert_eq!((partition.shared.committed(), partition.shared.counts()), (10, counts(10, 3, 0)));
}

#[tokio::test(start_paused = true)]
async fn in_a_batch_too_a_record_is_skipped_or_stops_the_partition() {
    let plan = |offset, _| if offset == 2 || offset == 9 { Act::Undecodable } else { Act::Return };
    let settings = ListenerSettings { on_exhausted: OnExhausted::Skip, ..of(10) };
    let rig = Rig::new(settings, true, plan);
    let partition = rig.partition(0);
    partition.comes(0, 12);
    after(10_000).await;
    assert_eq!((partition.shared.committed(), partition.shared.counts()), (12, counts(10, 2, 2)));

    let rig = Rig::new(of(10), true, plan);
    let partition = rig.partition(0);
    partition.comes(0, 10);
    after(10_000).await;
    assert_eq!((partition.phase(), partition.shared.committed()), (PartitionPhase::Stopped, 2));
}

/// A panic does not say which record it was.
#[tokio::test(start_paused = true)]
async fn a_batch_that_fails_as_a_whole_is_taken_apart() {
    let plan = |offset, _| if offset == 5 { Act::Panic } else { Act::Return };
    let retry = Retry { attempts: 2, ..Retry::default() };
    let rig = Rig::new(ListenerSettings { on_exhausted: OnExhausted::Skip, retry, ..of(10) }, true, plan);
    let partition = rig.partition(0);
    partition.comes(0, 10);
    after(10_000).await;
    let lengths: Vec<usize> = rig.script.batches().iter().map(Vec::len).collect();
    assert_eq!(lengths, [10, 10, 1, 1, 1, 1, 1, 1, 4]);
    assert_eq!((partition.shared.committed(), partition.shared.counts()), (10, counts(9, 3, 1)));

    let rig = Rig::new(ListenerSettings { retry, ..of(10) }, true, plan);
    let partition = rig.partition(0);
    partition.comes(0, 10);
    after(10_000).await;
    assert_eq!((partition.phase(), partition.shared.committed()), (PartitionPhase::Stopped, 5));
    assert_eq!(partition.shared.counts(), counts(5, 3, 0));
}
