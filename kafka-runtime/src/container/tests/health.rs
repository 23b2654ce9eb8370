//! What health says of partitions whose records are held up while their loops go on.

use super::*;
use crate::config::Ordering;
use crate::container::HealthStatus;
use crate::container::fixture::{keyed, retry_topics};

const LONG: Duration = Duration::from_secs(3600);

fn by_key() -> ListenerSettings {
    let retry = Retry { jitter: 0.0, ..Retry::default() };
    ListenerSettings { ordering: Ordering::Key, concurrency: Some(4), retry, ..settings() }
}

fn by_hand() -> ListenerSettings {
    ListenerSettings { ack: AckMode::Manual, ..settings() }
}

#[track_caller]
fn assert_health(rig: &Rig, status: HealthStatus, reasons: &[&str]) {
    let health = rig.health();
    let told: Vec<&str> = health.reasons.iter().map(String::as_str).collect();
    assert_eq!((health.status, &told[..]), (status, reasons));
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_is_paused_by_itself_is_named() {
    let rig = Rig::new(settings(), false, |_, _| Act::Return);
    let partition = rig.partition(3);
    let _other = rig.partition(4);
    partition.shared.pause();
    assert_health(&rig, HealthStatus::Up, &["orders-3 paused"]);
    partition.shared.resume();
    assert_health(&rig, HealthStatus::Up, &[]);
}

#[tokio::test(start_paused = true)]
async fn a_record_that_nobody_acknowledges_is_down_until_it_is_acknowledged() {
    let rig = Rig::new(by_hand(), false, |offset, _| if offset == 1 { Act::KeepAck } else { Act::Return });
    let partition = rig.partition(0);
    let mut look = rig.watch(&partition);
    partition.comes(0, 5);
    after(299_000).await;
    look();
    assert_health(&rig, HealthStatus::Up, &[]);
    after(2_000).await;
    look();
    let late = "orders-0: offset 1 is not acknowledged for longer than max-poll-interval: nothing behind it is committed";
    assert_health(&rig, HealthStatus::Down, &[late]);
    rig.script.take_ack(1).ack().unwrap();
    look();
    assert_health(&rig, HealthStatus::Up, &[]);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_tried_again_degrades_while_others_go_on() {
    let rig = Rig::new(by_key(), false, |offset, attempt| match (offset, attempt) {
        (2 | 5, 1 | 2) => Act::Fail("no bank"),
        (3, _) => Act::Wait(LONG),
        _ => Act::Return,
    });
    let partition = rig.partition(0);
    partition.bytes(0, keyed(0, 10, Some));
    after(50).await;
    assert_eq!(partition.phase(), PartitionPhase::Running);
    let first = "retrying orders-0 at offset 2, key \"k2\", attempt 1: no bank (and 1 more of orders-0)";
    assert_health(&rig, HealthStatus::Degraded, &[first]);
    after(1_000).await;
    assert_eq!(partition.phase(), PartitionPhase::Running);
    assert_health(&rig, HealthStatus::Up, &[]);
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_by_hand_degrades_while_others_go_on() {
    let rig = Rig::new(by_hand(), false, |offset, attempt| match (offset, attempt) {
        (1, 1) => Act::DropAck,
        _ => Act::Return,
    });
    let partition = rig.partition(0);
    partition.comes(0, 5);
    after(10).await;
    assert_eq!(rig.script.offsets(), range(5));
    assert_health(&rig, HealthStatus::Degraded, &["retrying orders-0 at offset 1"]);
    after(1_000).await;
    assert_health(&rig, HealthStatus::Up, &[]);
}

#[tokio::test(start_paused = true)]
async fn a_letter_that_takes_long_degrades_until_it_is_written() {
    let letters = ListenerSettings { on_exhausted: OnExhausted::DeadLetter, ..settings() };
    let by_key = ListenerSettings { ordering: Ordering::Key, concurrency: Some(4), ..letters.clone() };
    let later = ListenerSettings { retry_topics: Some(retry_topics()), ..settings() };
    for (settings, topic) in [(letters, "orders-dlt"), (by_key, "orders-dlt"), (later, "orders-retry-1000")] {
        let rig =
            Rig::new(settings, false, |offset, _| if offset == 2 { Act::Fail("no") } else { Act::Return });
        rig.postbox.take(Duration::from_secs(10));
        let partition = rig.partition(0);
        partition.comes(0, 5);
        // Tries at 0, about 100 and 300 ms.
        after(1_000).await;
        assert_eq!(partition.shared.writing().unwrap().topic.as_str(), topic);
        assert_health(&rig, HealthStatus::Up, &[]);
        after(5_000).await;
        let health = rig.health();
        assert_eq!((health.status, health.reasons.len()), (HealthStatus::Degraded, 1), "{health:?}");
        let written = format!("orders-0: offset 2 is being written to {topic}, for ");
        assert!(health.reasons[0].starts_with(&written), "{health:?}");
        after(5_000).await;
        assert_health(&rig, HealthStatus::Up, &[]);
        assert_eq!((rig.postbox.posted().len(), partition.shared.writing()), (1, None));
    }
}
