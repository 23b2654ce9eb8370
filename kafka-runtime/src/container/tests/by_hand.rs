//! Acknowledgement by hand.

use super::*;

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
