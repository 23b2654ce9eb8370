//! What is told of a partition by whoever looks at it now and then: in the log, by events, by an explanation.

use super::*;
use crate::container::fixture::{Log, UNWANTED, headed, keyed};
use crate::container::{EventKind, EventStream, OpenPhase};

const LONG: Duration = Duration::from_secs(3_600);

fn both() -> [ListenerSettings; 2] {
    let retry = Retry { jitter: 0.0, ..Retry::default() };
    let settings = ListenerSettings { retry, ..settings() };
    let by_key = ListenerSettings { ordering: Ordering::Key, concurrency: Some(4), ..settings.clone() };
    [settings, by_key]
}

/// What was told since the last time.
async fn told(events: &mut EventStream) -> Vec<EventKind> {
    let mut told = Vec::new();
    while let Ok(Some(event)) = tokio::time::timeout(Duration::from_millis(1), events.next()).await {
        told.push(event.kind);
    }
    told
}

/// Half of `max-poll-interval` (5 minutes) is in time to do something about it.
#[tokio::test(start_paused = true)]
async fn a_stuck_record_is_named_in_the_log_before_it_is_an_incident() {
    for settings in both() {
        let log = Log::here();
        let ordering = settings.ordering;
        let rig =
            Rig::new(settings, false, |offset, _| if offset == 1 { Act::Wait(LONG) } else { Act::Return });
        let mut events = rig.events.subscribe();
        let partition = rig.partition(0);
        let mut look = rig.watch(&partition);
        partition.bytes(0, keyed(0, 3, Some));
        after(1_000).await;
        look();
        after(148_000).await;
        look();
        assert_eq!(log.lines_with("max-poll-interval"), [""; 0], "{ordering:?}");
        after(3_000).await;
        look();
        let [line] = &log.lines_with("more than half of max-poll-interval")[..] else {
            panic!("{ordering:?}: {:?}", log.lines())
        };
        let who = "orders-0 at offset 1, key \"k1\", attempt 1, since 15";
        assert!(line.contains("WARN") && line.contains(who) && line.contains("its handler runs"), "{line}");
        assert!(!told(&mut events).await.iter().any(|kind| matches!(kind, EventKind::Stuck { .. })));
        after(150_000).await;
        look();
        assert_eq!(log.lines_with("longer than max-poll-interval").len(), 1, "{ordering:?}");
        let told = told(&mut events).await;
        assert!(told.iter().any(|kind| matches!(kind, EventKind::Stuck { offset: 1, .. })), "{told:?}");
        partition.shared.raise(Signal::Abort);
    }
}

#[tokio::test(start_paused = true)]
async fn a_partition_without_records_is_idle_until_one_comes() {
    let minute = Duration::from_secs(60);
    for settings in both() {
        let settings = ListenerSettings { idle_partition_event_interval: Some(minute), ..settings };
        let rig = Rig::new(settings, false, |_, _| Act::Return);
        let mut events = rig.events.subscribe();
        let partition = rig.partition(0);
        let mut look = rig.watch(&partition);
        let mut idleness = Vec::new();
        for second in 0..130 {
            if second == 90 {
                partition.comes(0, 1);
            }
            after(1_000).await;
            look();
            for kind in told(&mut events).await {
                match kind {
                    EventKind::Idle { partition: Some(partition), .. } => {
                        idleness.push((partition.partition, true));
                    }
                    EventKind::NoLongerIdle { partition: Some(partition) } => {
                        assert!((90..92).contains(&second), "{second}");
                        idleness.push((partition.partition, false));
                    }
                    _ => {}
                }
            }
        }
        assert_eq!(idleness, [(0, true), (0, false)]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_partition_whose_records_a_filter_drops_is_not_idle() {
    for settings in both() {
        let ordering = settings.ordering;
        let minute = Duration::from_secs(60);
        let settings = ListenerSettings { idle_partition_event_interval: Some(minute), ..settings };
        let rig = Rig::new(settings, false, |_, _| Act::Return);
        let mut events = rig.events.subscribe();
        let partition = rig.partition(0);
        let mut look = rig.watch(&partition);
        for round in 0..10 {
            partition.bytes(round, keyed(round, 1, |_| Some(UNWANTED)));
            after(30_000).await;
            look();
        }
        assert_eq!(told(&mut events).await.len(), 0, "{ordering:?}: a filter at work is work");
        after(61_000).await;
        look();
        let told = told(&mut events).await;
        assert!(matches!(told[..], [EventKind::Idle { partition: Some(_), .. }]), "{ordering:?}: {told:?}");
        assert_eq!(rig.script.offsets(), [0; 0], "{ordering:?}: all were dropped");
    }
}

/// Tries at 0, 100 and 300 ms, and so on.
#[tokio::test(start_paused = true)]
async fn an_explanation_says_when_the_next_try_is() {
    for settings in both() {
        let ordering = settings.ordering;
        let rig =
            Rig::new(settings, false, |offset, _| if offset == 1 { Act::Fail("no") } else { Act::Return });
        let partition = rig.partition(0);
        partition.bytes(0, keyed(0, 3, Some));
        after(150).await;
        let open = rig.board.explain();
        let [record] = &open[..] else { panic!("{ordering:?}: {open:?}") };
        assert_eq!((record.offset, record.attempt, record.phase), (1, 3, OpenPhase::Parked), "{ordering:?}");
        let next = record.next_try.unwrap();
        assert!(
            next > Duration::from_millis(100) && next <= Duration::from_millis(150),
            "{ordering:?}: {record}"
        );
        assert!(
            record.to_string().ends_with(&format!("it waits for its next try in {next:.1?}")),
            "{record}"
        );
        partition.shared.raise(Signal::Abort);
    }
}

#[tokio::test(start_paused = true)]
async fn an_explanation_says_when_a_record_of_a_retry_topic_is_due() {
    let settings = ListenerSettings { hop: Some("orders-retry-1000".into()), ..settings() };
    let rig = Rig::new(settings, false, |_, _| Act::Return);
    let due = (1_700_000_000_000i64 + 3_600_000).to_be_bytes();
    let partition = rig.partition(0);
    partition.bytes(0, headed(0, 1, &[("retry_topic-backoff-timestamp", Some(&due))]));
    after(1_000).await;
    let open = rig.board.explain();
    let [record] = &open[..] else { panic!("{open:?}") };
    assert_eq!((record.offset, record.phase), (0, OpenPhase::Waiting));
    let next = record.next_try.unwrap();
    assert!(next > Duration::from_secs(3_500) && next <= LONG, "{record}");
}
