//! Handlers of many records at once.

use std::sync::{Arc, OnceLock};

use super::*;
use crate::container::shared::Shared;

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
