//! Panics outside of handlers: in the user's errors, and bugs of this library.

use super::*;
use crate::config::{Ordering, RetryErrors};
use crate::container::EventKind;
use crate::container::fixture::RigPartition;

fn both() -> [ListenerSettings; 2] {
    let retry = Retry { attempts: 2, ..Retry::default() };
    let settings = ListenerSettings { on_exhausted: OnExhausted::DeadLetter, retry, ..settings() };
    let by_key = ListenerSettings { ordering: Ordering::Key, concurrency: Some(1), ..settings.clone() };
    [settings, by_key]
}

#[tokio::test(start_paused = true)]
async fn an_error_whose_own_code_panics_is_a_failure_like_any_other() {
    for settings in both() {
        let retry_errors = RetryErrors { never: Some(vec!["Closed".into()]), ..RetryErrors::default() };
        let settings = ListenerSettings { retry_errors, ..settings };
        let ordering = settings.ordering;
        let rig = Rig::new(settings, false, |offset, _| match offset {
            1 => Act::FailUnspeakably,
            _ => Act::Return,
        });
        let partition = rig.partition(0);
        partition.comes(0, 3);
        after(2_000).await;
        let counts = Counts { dead_lettered: 1, ..counts(2, 2, 0) };
        assert_eq!((partition.shared.counts(), partition.shared.committed()), (counts, 3), "{ordering:?}");
        let [letter] = &rig.postbox.posted()[..] else { panic!("{:?}", rig.postbox.posted()) };
        let message = letter.headers.iter().find(|(name, _)| name == "kafka_dlt-exception-message");
        let message = message.and_then(|(_, value)| value.as_deref()).unwrap();
        let message = String::from_utf8_lossy(message);
        assert!(message.contains("Unspeakable (it panicked when it was asked for its text)"), "{message}");
    }
}

/// Why partitions stopped since the subscription.
async fn stopped(mut events: crate::container::EventStream) -> Vec<String> {
    let mut causes = Vec::new();
    while let Ok(Some(event)) = tokio::time::timeout(Duration::from_millis(1), events.next()).await {
        if let EventKind::PartitionStopped { partition, cause } = event.kind {
            causes.push(format!("{partition}: {cause}"));
        }
    }
    causes
}

fn is_stopped_for_a_bug(partition: &RigPartition) -> bool {
    partition.phase() == PartitionPhase::Stopped
        && partition.shared.cause().unwrap().contains("which is a bug")
}

#[tokio::test(start_paused = true)]
async fn a_bug_beside_a_record_stops_its_partition_visibly_and_others_go_on() {
    for settings in both() {
        let ordering = settings.ordering;
        let rig =
            Rig::new(settings, false, |offset, _| if offset == 1 { Act::Fail("no") } else { Act::Return });
        rig.postbox.break_down();
        let events = rig.events.subscribe();
        let (partition, other) = (rig.partition(0), rig.partition(1));
        partition.comes(0, 3);
        after(2_000).await;
        assert!(is_stopped_for_a_bug(&partition), "{ordering:?}: {:?}", partition.shared);
        assert_eq!(partition.shared.committed(), 1, "{ordering:?}");
        other.comes(10, 3);
        after(2_000).await;
        assert_eq!(other.shared.committed(), 13, "{ordering:?}");
        let causes = stopped(events).await;
        assert!(matches!(&causes[..], [one] if one.starts_with("orders-0: ")), "{ordering:?}: {causes:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_bug_in_a_partitions_loop_is_an_event() {
    for settings in both() {
        let rig = Rig::new(settings, false, |_, _| Act::Return);
        let events = rig.events.subscribe();
        rig.broken_partition(0).await.unwrap();
        assert_eq!(stopped(events).await, ["orders-0: its loop panicked, which is a bug"]);
    }
}
