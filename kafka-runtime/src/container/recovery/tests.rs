//! What becomes of failed records, on partitions at work, on paused time, with a post box for dead letters.

use std::time::Duration;

use crate::config::{AckMode, DeadLetters, ListenerSettings, OnExhausted, Ordering, Retry};
use crate::container::EventKind;
use crate::container::fixture::{Act, Rig, after, headed, records, retry_topics, settings};
use crate::container::shared::{Counts, PartitionPhase, Signal};

fn lettered() -> ListenerSettings {
    ListenerSettings { on_exhausted: OnExhausted::DeadLetter, ..settings() }
}

fn header<'a>(headers: &'a [(String, Option<Vec<u8>>)], name: &str) -> &'a [u8] {
    let found = headers.iter().find(|(known, _)| known == name);
    found.and_then(|(_, value)| value.as_deref()).unwrap_or_else(|| panic!("{name} in {headers:?}"))
}

#[tokio::test(start_paused = true)]
async fn a_spent_record_goes_to_the_dead_letter_and_its_offset_waits_for_that() {
    let plan = |offset, _| if offset == 2 { Act::Fail("no bank") } else { Act::Return };
    let rig = Rig::new(lettered(), false, plan);
    let partition = rig.partition(3);
    partition.comes(0, 5);
    // Tries at 0, about 100 and 300 ms; the letter takes 100 ms more.
    after(410).await;
    assert_eq!((rig.script.offsets().len(), partition.phase()), (5, PartitionPhase::Waiting));
    assert_eq!((partition.shared.safe().offset, rig.postbox.posted().len()), (2, 0));
    assert!(partition.shared.cause().unwrap().contains("no bank; its dead letter is being written"));
    after(2_000).await;
    assert_eq!(rig.script.offsets(), [0, 1, 2, 2, 2, 3, 4]);
    let counts = Counts { handled: 4, failed: 3, dead_lettered: 1, ..Counts::default() };
    assert_eq!((partition.shared.counts(), partition.shared.committed()), (counts, 5));
    assert_eq!(partition.shared.cause(), None);

    let [letter] = &rig.postbox.posted()[..] else { panic!("{:?}", rig.postbox.posted()) };
    assert_eq!((letter.topic.as_str(), letter.value.as_deref()), ("orders-dlt", Some("2")));
    assert_eq!(header(&letter.headers, "kafka_dlt-original-partition"), 3i32.to_be_bytes());
    assert_eq!(header(&letter.headers, "kafka_dlt-original-offset"), 2i64.to_be_bytes());
    assert_eq!(header(&letter.headers, "kafka_dlt-original-consumer-group"), b"billing");
    assert_eq!(header(&letter.headers, "kafka_dlt-exception-message"), b"no bank");
    let class = header(&letter.headers, "kafka_dlt-exception-fqcn");
    assert_eq!(header(&letter.headers, "kafka_dlt-exception-cause-fqcn"), class, "nothing is around it");
    assert_eq!(header(&letter.headers, "kafka_runtime-attempts"), 3i32.to_be_bytes());
}

/// What becomes of a record for good is told once, after what failed; retry topics have no event of their own failing.
#[tokio::test(start_paused = true)]
async fn subscribers_hear_of_each_fate() {
    let once = Retry { attempts: 1, ..Retry::default() };
    let of = |on_exhausted, retry_topics| ListenerSettings {
        on_exhausted,
        retry_topics,
        retry: once,
        ..settings()
    };
    for (settings, expected) in [
        (of(OnExhausted::DeadLetter, None), "dead letter orders-dlt-0 at 0: no bank"),
        (of(OnExhausted::Skip, None), "skipped: no bank"),
        (of(OnExhausted::Stop, Some(retry_topics())), "later orders-retry-1000-0 after 1s: no bank"),
    ] {
        let plan = |offset, _| if offset == 2 { Act::Fail("no bank") } else { Act::Return };
        let rig = Rig::new(settings, false, plan);
        let mut stream = rig.events.subscribe();
        let partition = rig.partition(0);
        partition.comes(0, 5);
        after(2_000).await;
        partition.drain().await;
        let mut told = Vec::new();
        while let Ok(Some(event)) = tokio::time::timeout(Duration::from_millis(1), stream.next()).await {
            told.extend(match event.kind {
                EventKind::RecordFailed { offset: 2, attempt: 1, .. } => Some("failed".to_owned()),
                EventKind::DeadLettered { offset: 2, letter, letter_offset, cause, .. } => {
                    Some(format!("dead letter {letter} at {letter_offset}: {cause}"))
                }
                EventKind::Skipped { offset: 2, cause, .. } => Some(format!("skipped: {cause}")),
                EventKind::RetriedLater { offset: 2, retry_topic, wait, cause, .. } => {
                    Some(format!("later {retry_topic} after {wait:?}: {cause}"))
                }
                _ => None,
            });
        }
        assert_eq!(told, ["failed", expected]);
    }
}

#[tokio::test(start_paused = true)]
async fn where_it_cannot_be_written_the_partition_stops_and_nothing_moves() {
    let rig = Rig::new(lettered(), false, |offset, _| if offset == 2 { Act::Panic } else { Act::Return });
    rig.postbox.refuse(Some("not authorised"));
    let (partition, other) = (rig.partition(0), rig.partition(1));
    partition.comes(0, 5);
    after(5_000).await;
    assert_eq!((partition.phase(), partition.shared.committed()), (PartitionPhase::Stopped, 2));
    let cause = partition.shared.cause().unwrap();
    assert!(cause.contains("cannot be written to orders-dlt: not authorised"), "{cause}");
    other.comes(10, 3);
    after(2_000).await;
    assert_eq!(other.shared.committed(), 13);
    assert_eq!(partition.drain().await.safe().offset, 2);
}

/// There is no record of which a dead letter could be made.
#[tokio::test(start_paused = true)]
async fn a_batch_with_a_wrong_checksum_stops_its_partition_and_is_no_dead_letter() {
    let by_key = ListenerSettings { ordering: Ordering::Key, concurrency: Some(2), ..lettered() };
    for (settings, batches) in [(lettered(), false), (lettered(), true), (by_key, false)] {
        let rig = Rig::new(settings, batches, |_, _| Act::Return);
        let (partition, other) = (rig.partition(0), rig.partition(1));
        let mut broken = records(3, 2).to_vec();
        *broken.last_mut().unwrap() ^= 1;
        partition.comes(0, 3);
        partition.bytes(3, broken.into());
        partition.comes(5, 1);
        other.comes(10, 3);
        after(2_000).await;
        assert_eq!((partition.phase(), partition.shared.safe().offset), (PartitionPhase::Stopped, 3));
        let cause = partition.shared.cause().unwrap();
        assert!(cause.contains("orders-0 at offset 3: ") && cause.contains("checksum"), "{cause}");
        assert_eq!((partition.shared.counts().handled, rig.postbox.posted().len()), (3, 0));
        assert_eq!((other.shared.committed(), rig.script.offsets().len()), (13, 6));
    }
}

#[tokio::test(start_paused = true)]
async fn a_topic_is_no_dead_letter_topic_of_its_own() {
    let dead_letters = DeadLetters { topic: "orders".into(), ..DeadLetters::default() };
    let rig = Rig::new(ListenerSettings { dead_letters, ..lettered() }, false, |_, _| Act::Undecodable);
    let partition = rig.partition(0);
    partition.comes(0, 1);
    after(1_000).await;
    assert_eq!((partition.phase(), rig.postbox.posted().len()), (PartitionPhase::Stopped, 0));
}

/// Listeners of one group may read each other's dead letters, and give up on them in their turn.
#[tokio::test(start_paused = true)]
async fn a_dead_letter_does_not_come_back_to_the_listener_that_wrote_it() {
    let group = ("kafka_dlt-original-consumer-group", Some(&b"billing"[..]));
    let (own, other) =
        (("kafka_runtime-listener", Some(&b"bill"[..])), ("kafka_runtime-listener", Some(&b"pay"[..])));
    for (headers, expected) in [
        (&[group, own][..], PartitionPhase::Stopped),
        (&[group, other], PartitionPhase::Idle),
        // Of Spring's, which name no listener.
        (&[group], PartitionPhase::Stopped),
        (&[("kafka_dlt-original-consumer-group", Some(&b"shipping"[..]))], PartitionPhase::Idle),
        // From a retry topic of its own.
        (&[own], PartitionPhase::Idle),
    ] {
        let rig = Rig::new(lettered(), false, |_, _| Act::Undecodable);
        let partition = rig.partition(0);
        partition.bytes(0, headed(0, 1, headers));
        after(2_000).await;
        let written = usize::from(expected == PartitionPhase::Idle);
        assert_eq!((partition.phase(), rig.postbox.posted().len()), (expected, written), "{headers:?}");
    }
}

/// Its next owner handles the record, well perhaps: a dead letter of it would be a second one of its fates.
#[tokio::test(start_paused = true)]
async fn no_dead_letter_is_written_for_a_partition_that_may_be_anothers() {
    let by_key = ListenerSettings { ordering: Ordering::Key, concurrency: Some(2), ..lettered() };
    for settings in [lettered(), by_key] {
        let rig = Rig::new(settings, false, |_, _| Act::FailAfter(Duration::from_secs(1), "no bank"));
        let partition = rig.partition(0);
        partition.comes(0, 1);
        // The last of three tries is under way.
        after(2_500).await;
        partition.shared.cut_off();
        partition.shared.raise(Signal::Drain);
        after(10_000).await;
        assert_eq!((rig.postbox.posted().len(), partition.shared.counts().failed), (0, 3));
        assert_eq!(partition.drain().await.safe().offset, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_retry_topic_can_be_paused_while_its_first_record_is_not_due() {
    let settings = ListenerSettings { hop: Some("orders-retry-1000".into()), ..lettered() };
    let rig = Rig::new(settings, false, |_, _| Act::Return);
    let due = (1_700_000_000_000i64 + 3_600_000).to_be_bytes();
    let partition = rig.partition(0);
    partition.bytes(0, headed(0, 1, &[("retry_topic-backoff-timestamp", Some(&due))]));
    after(1_000).await;
    assert_eq!((partition.phase(), rig.script.offsets().len()), (PartitionPhase::Waiting, 0));
    partition.shared.pause();
    after(1_000).await;
    assert_eq!(partition.phase(), PartitionPhase::Paused);
    partition.shared.resume();
    after(1_000).await;
    assert_eq!((partition.phase(), rig.script.offsets().len()), (PartitionPhase::Waiting, 0));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_pass_goes_straight_to_the_dead_letter_also_where_there_are_retry_topics() {
    let rig =
        Rig::new(ListenerSettings { retry_topics: Some(retry_topics()), ..lettered() }, false, |_, _| {
            Act::Undecodable
        });
    let partition = rig.partition(0);
    partition.comes(0, 1);
    after(2_000).await;
    let topics: Vec<_> = rig.postbox.posted().into_iter().map(|letter| letter.topic).collect();
    assert_eq!((topics, partition.shared.committed()), (vec!["orders-dlt".to_owned()], 1));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_pass_goes_straight_to_the_dead_letter() {
    let rig = Rig::new(lettered(), false, |offset, _| match offset {
        1 => Act::Undecodable,
        2 => Act::Fatal("closed"),
        _ => Act::Return,
    });
    let partition = rig.partition(0);
    partition.comes(0, 4);
    after(2_000).await;
    assert_eq!(rig.script.offsets(), [0, 1, 2, 3]);
    let kinds: Vec<_> = rig
        .postbox
        .posted()
        .iter()
        .map(|letter| header(&letter.headers, "kafka_runtime-failure").to_vec())
        .collect();
    assert_eq!(kinds, [&b"decode"[..], b"error"]);
    assert_eq!(partition.shared.committed(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_takes_too_long_is_dropped_and_has_failed() {
    let settings = ListenerSettings { handler_timeout: Some(Duration::from_secs(2)), ..lettered() };
    let rig = Rig::new(settings, false, |offset, attempt| match (offset, attempt) {
        (0, _) => Act::Wait(Duration::from_millis(1_900)),
        (1, 1) | (2, _) => Act::Wait(Duration::from_secs(3600)),
        _ => Act::Return,
    });
    let partition = rig.partition(0);
    partition.comes(0, 4);
    after(20_000).await;
    assert_eq!(rig.script.seen(), [(0, 1), (1, 1), (1, 2), (2, 1), (2, 2), (2, 3), (3, 1)]);
    let [letter] = &rig.postbox.posted()[..] else { panic!("one letter") };
    assert_eq!(header(&letter.headers, "kafka_runtime-failure"), b"timeout");
    let counts = Counts { handled: 3, failed: 4, dead_lettered: 1, ..Counts::default() };
    assert_eq!((partition.shared.counts(), partition.shared.committed()), (counts, 4));
}

#[tokio::test(start_paused = true)]
async fn tries_end_when_the_time_is_over() {
    let retry = Retry { attempts: 1_000, max_elapsed: Some(Duration::from_secs(3)), ..Retry::default() };
    let rig = Rig::new(ListenerSettings { retry, ..lettered() }, false, |_, _| Act::Fail("no"));
    let partition = rig.partition(0);
    partition.comes(0, 1);
    after(1_000).await;
    assert!(rig.postbox.posted().is_empty());
    after(3_000).await;
    assert_eq!((rig.postbox.posted().len(), partition.shared.position()), (1, 1));
    let tries = rig.script.offsets().len();
    assert!((4..8).contains(&tries), "{tries} tries");
}

#[tokio::test(start_paused = true)]
async fn of_a_batch_only_the_one_that_fails_is_a_dead_letter() {
    let plan = |offset, _| match offset {
        3 => Act::Fail("no"),
        7 => Act::Undecodable,
        _ => Act::Return,
    };
    let rig = Rig::new(ListenerSettings { max_poll_records: 10, ..lettered() }, true, plan);
    let partition = rig.partition(0);
    partition.comes(0, 10);
    after(10_000).await;
    let values: Vec<_> = rig.postbox.posted().into_iter().filter_map(|letter| letter.value).collect();
    assert_eq!(values, ["3", "7"]);
    let counts = partition.shared.counts();
    assert_eq!((counts.handled, counts.dead_lettered, partition.shared.committed()), (8, 2, 10));
}

#[tokio::test(start_paused = true)]
async fn what_is_never_acknowledged_is_a_dead_letter_too() {
    let by_hand = ListenerSettings { ack: AckMode::Manual, ..lettered() };
    let rig = Rig::new(by_hand, false, |offset, _| if offset == 1 { Act::DropAck } else { Act::Return });
    let partition = rig.partition(0);
    partition.comes(0, 4);
    after(10_000).await;
    let values: Vec<_> = rig.postbox.posted().into_iter().filter_map(|letter| letter.value).collect();
    assert_eq!((values, partition.shared.committed()), (vec!["1".to_owned()], 4));
}

/// A batch is refused as a whole: which of its records it is, nobody knows.
#[tokio::test(start_paused = true)]
async fn a_batch_that_is_never_acknowledged_is_taken_apart() {
    let by_hand = ListenerSettings { ack: AckMode::Manual, max_poll_records: 10, ..lettered() };
    let rig = Rig::new(by_hand, true, |offset, _| if offset == 4 { Act::DropAck } else { Act::Return });
    let partition = rig.partition(0);
    partition.comes(0, 6);
    after(20_000).await;
    let values: Vec<_> = rig.postbox.posted().into_iter().filter_map(|letter| letter.value).collect();
    assert_eq!((values, partition.shared.committed()), (vec!["4".to_owned()], 6));
    let lengths: Vec<usize> = rig.script.batches().iter().map(Vec::len).collect();
    assert_eq!(lengths[..3], [6, 6, 6]);
    assert!(lengths[3..].iter().all(|length| *length == 1), "{lengths:?}");
}
