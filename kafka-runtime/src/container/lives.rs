//! A listener through several lives: partitions are given back or lost at any moment, handlers fail for a while, commits
//! fail, acknowledgements come late and out of order. Whatever happens: nothing is committed that is not settled (the
//! coordinator asserts it at each request), each life begins where the one before was committed, records come in order,
//! and in the end every record was handled.

use std::collections::BTreeSet;
use std::time::Duration;

use kafka_client::{ResponseError, TopicPartition};
use proptest::prelude::*;

use super::fixture::{Act, Coordinator, Rig, RigPartition, after, keyed, settings};
use super::parallel::Remembered;
use super::shared::Signal;
use crate::config::{AckMode, Cadence, CommitStrategy, ListenerSettings, Ordering, Retry};

/// How a life of the partition ends, and when.
#[derive(Debug, Clone, Copy)]
struct Life {
    millis: u64,
    lost: bool,
}

#[derive(Debug, Clone)]
struct Case {
    /// Records of each batch on the wire.
    batches: Vec<i64>,
    lives: Vec<Life>,
    strategy: CommitStrategy,
    cadence: Cadence,
    ack: AckMode,
    batch: bool,
    /// `max.poll.records`.
    most: usize,
    ordering: Ordering,
    concurrency: usize,
    remember: bool,
    /// Chance of each handler call to fail, to wait, to answer late: by offset and attempt.
    chance: u64,
    refused: Vec<bool>,
}

fn cadences() -> impl Strategy<Value = Cadence> {
    let time = Some(Duration::from_millis(50));
    prop_oneof![
        Just(Cadence::Record),
        Just(Cadence::Batch),
        Just(Cadence::Every { records: None, time }),
        (1..30u32).prop_map(|records| Cadence::Every { records: Some(records), time: None }),
        (1..30u32).prop_map(move |records| Cadence::Every { records: Some(records), time }),
    ]
}

fn cases() -> impl Strategy<Value = Case> {
    let strategies =
        prop_oneof![Just(CommitStrategy::Sync), Just(CommitStrategy::Async), Just(CommitStrategy::Combined)];
    let lives = prop::collection::vec(
        (1..600u64, any::<bool>()).prop_map(|(millis, lost)| Life { millis, lost }),
        0..4,
    );
    let acks = prop_oneof![Just(AckMode::Auto), Just(AckMode::Manual), Just(AckMode::ManualImmediate)];
    (
        prop::collection::vec(1..40i64, 1..6),
        lives,
        strategies,
        cadences(),
        acks,
        (any::<bool>(), 1..30usize),
        prop_oneof![Just(Ordering::Partition), Just(Ordering::Key), Just(Ordering::None)],
        (1..20usize, any::<bool>()),
        any::<u64>(),
        prop::collection::vec(any::<bool>(), 0..6),
    )
        .prop_map(
            |(
                batches,
                lives,
                strategy,
                cadence,
                ack,
                (batch, most),
                ordering,
                (concurrency, remember),
                chance,
                refused,
            )| {
                // Batches are acknowledged by hand in tests of their own, and never committed record by record.
                let ack = if batch { AckMode::Auto } else { ack };
                let cadence = if batch && cadence == Cadence::Record { Cadence::Batch } else { cadence };
                // Both are handed over in the partition's order.
                let ordering = if batch || ack != AckMode::Auto { Ordering::Partition } else { ordering };
                Case {
                    batches,
                    lives,
                    strategy,
                    cadence,
                    ack,
                    batch,
                    most,
                    ordering,
                    concurrency,
                    remember,
                    chance,
                    refused,
                }
            },
        )
}

const KEYS: i64 = 5;

fn key_of(offset: i64) -> i64 {
    offset * 7 / 3 % KEYS
}

/// A number that follows from what it is for.
fn throw(chance: u64, offset: i64, attempt: u32) -> u64 {
    let mut z =
        chance ^ (offset as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ u64::from(attempt).rotate_left(40);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

fn act(chance: u64, by_hand: bool, offset: i64, attempt: u32) -> Act {
    let thrown = throw(chance, offset, attempt);
    let millis = Duration::from_millis(thrown >> 58);
    match thrown % 16 {
        0 if attempt < 4 => Act::Fail("for now"),
        1 if attempt < 4 => Act::Panic,
        2 if attempt < 4 && by_hand => Act::DropAck,
        3..=6 if by_hand => Act::AckAfter(millis),
        3..=6 => Act::Wait(millis),
        _ => Act::Return,
    }
}

impl Case {
    fn total(&self) -> i64 {
        self.batches.iter().sum()
    }

    fn settings(&self) -> ListenerSettings {
        let retry = Retry {
            attempts: 50,
            initial: Duration::from_millis(5),
            max: Duration::from_millis(20),
            ..Retry::default()
        };
        ListenerSettings {
            commit: self.strategy,
            cadence: self.cadence,
            ack: self.ack,
            retry,
            max_poll_records: self.most,
            ordering: self.ordering,
            concurrency: Some(self.concurrency),
            remember: self.remember,
            ..settings()
        }
    }

    /// One life: from what is committed, until it ends; what it settled is added.
    async fn live(&self, coordinator: &Coordinator, settled: &mut BTreeSet<i64>, life: Option<Life>) {
        let (chance, by_hand) = (self.chance, self.ack != AckMode::Auto);
        let rig = Rig::with(coordinator.clone(), self.settings(), self.batch, move |offset, attempt| {
            act(chance, by_hand, offset, attempt)
        });
        rig.script.settle(settled);
        coordinator.guard(&rig.script);
        let committed = coordinator.committed_with_metadata(TopicPartition::new("orders", 0));
        let start = committed.as_ref().map_or(0, |committed| committed.offset);
        let known = committed.as_ref().filter(|_| self.remember);
        let known =
            known.map_or_else(Remembered::default, |known| Remembered::decode(&known.metadata, start));
        if self.ordering == Ordering::Key {
            rig.script.watch_lanes(key_of);
        }
        let partition = rig.partition_at(0, start, committed);
        self.feed(&partition, start);
        match life {
            None => {
                let total = self.total();
                let all = || rig.script.settled().len() >= usize::try_from(total).unwrap();
                let mut patience = 4_000;
                while !all() && patience > 0 {
                    after(50).await;
                    patience -= 1;
                }
                assert!(all(), "not all is handled: {:?}", partition.shared);
                after(2_000).await;
                rig.give_back(partition).await;
            }
            Some(Life { millis, lost: false }) => {
                after(millis).await;
                rig.give_back(partition).await;
            }
            Some(Life { millis, lost: true }) => {
                after(millis).await;
                partition.shared.raise(Signal::Abort);
                partition.task.await.unwrap();
            }
        }
        let seen = rig.script.seen();
        if let Some((first, _)) = seen.first() {
            assert_eq!(*first, start, "a life begins where the last one was committed");
        }
        let again = seen.iter().find(|(offset, _)| known.ranges().any(|range| range.contains(offset)));
        assert_eq!(again, None, "it was remembered as finished: {known:?}");
        let firsts: Vec<i64> =
            seen.iter().filter(|(_, attempt)| *attempt == 1).map(|(offset, _)| *offset).collect();
        match self.ordering {
            Ordering::Partition if self.batch => {}
            Ordering::Partition => {
                assert!(firsts.windows(2).all(|pair| pair[0] + 1 == pair[1]), "out of order: {firsts:?}");
            }
            Ordering::Key => (0..KEYS).for_each(|key| {
                let of_key: Vec<_> = firsts.iter().filter(|offset| key_of(**offset) == key).collect();
                assert!(of_key.is_sorted(), "key {key} out of order: {of_key:?}");
            }),
            Ordering::None => {}
        }
        self.assert_bound(coordinator, &seen);
        // What is answered late is answered to nobody.
        after(1_000).await;
        settled.extend(rig.script.settled());
    }

    /// The next life does not repeat more than the bound of what was `seen` in this one; what failed is not repeated, but
    /// tried again.
    fn assert_bound(&self, coordinator: &Coordinator, seen: &[(i64, u32)]) {
        let Cadence::Every { records: Some(bound), .. } = self.cadence else { return };
        let is_covered = coordinator.coverage(TopicPartition::new("orders", 0));
        let by_hand = self.ack != AckMode::Auto;
        let is_done = |(offset, attempt): &&(i64, u32)| {
            !matches!(act(self.chance, by_hand, *offset, *attempt), Act::Fail(_) | Act::Panic | Act::DropAck)
        };
        let done = seen.iter().filter(is_done).map(|(offset, _)| *offset);
        let again: BTreeSet<i64> = done.filter(|offset| !is_covered(offset)).collect();
        assert!(again.len() <= bound as usize, "{bound} at most: {again:?}");
    }

    fn feed(&self, partition: &RigPartition, start: i64) {
        let mut base = 0;
        for count in &self.batches {
            if base + count > start {
                partition.bytes(start, keyed(base, *count, |offset| Some(key_of(offset))));
            }
            base += count;
        }
    }
}

proptest! {
    #[test]
    fn through_all_lives_nothing_is_lost(case in cases()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let refused: Vec<_> = case
                .refused
                .iter()
                .map(|good| if *good { ResponseError::NotCoordinator } else { ResponseError::GroupAuthorizationFailed })
                .collect();
            let coordinator = Coordinator::failing(&refused);
            let mut settled = BTreeSet::new();
            for life in &case.lives {
                case.live(&coordinator, &mut settled, Some(*life)).await;
            }
            case.live(&coordinator, &mut settled, None).await;
            assert_eq!(settled, (0..case.total()).collect::<BTreeSet<_>>());
            let committed = coordinator.committed(TopicPartition::new("orders", 0));
            // A refusal for good is not repeated, and may have met the last one.
            if case.refused.is_empty() {
                assert_eq!(committed, Some(case.total()));
            }
        });
    }
}
