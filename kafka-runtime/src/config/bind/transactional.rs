//! `transactional`: what it implies, and what does not go with it.

use std::time::Duration;

use kafka_client::config::{IsolationLevel, Subscription};

use super::super::origin::Origin;
use super::super::problems::Problem;
use super::super::settings::{AckMode, Cadence, CommitStrategy, ListenerSettings, Ordering};
use super::listener::layered;
use super::{Binding, Declared, Place, of_listener};

/// How often transactions are committed unless it is said.
const CADENCE: Duration = Duration::from_millis(100);

pub(super) fn transactional(binding: &mut Binding<'_>, listener: &Declared) -> bool {
    binding.read(
        "transactional",
        &layered(listener, "transactional", listener.attributes.transactional),
        false,
    )
}

/// The cadence of a transactional listener that says nothing of it.
pub(super) fn cadence() -> Cadence {
    Cadence::Every { records: None, time: Some(CADENCE) }
}

/// Where other settings follow from it.
pub(super) fn origin() -> Origin {
    Origin::Derived("transactional".into())
}

/// Records of transactions that were aborted are not consumed, unless it is said that they are.
pub(super) fn isolation(binding: &mut Binding<'_>, said: IsolationLevel) -> IsolationLevel {
    if binding.origin_of("isolation.level") != Origin::Default {
        return said;
    }
    binding.note("isolation.level", "read_committed".to_owned(), origin(), Vec::new());
    IsolationLevel::ReadCommitted
}

/// What cannot be kept together.
pub(super) fn contradictions(binding: &mut Binding<'_>, listener: &Declared, settings: &ListenerSettings) {
    if binding.is_broken(&["transactional"]) {
        return;
    }
    let (id, at) = (listener.id, binding.origin_or(listener, "transactional"));
    if !settings.transactional {
        if listener.takes_tx {
            let what = format!("listener `{id}` takes a transaction (`&Tx`), and is not transactional");
            let help = format!(
                "write `transactional` in its attribute, or set `kafka-runtime.{}.transactional: true`",
                of_listener(listener)
            );
            binding.problems.error(Problem::new(at, "", what).help(help));
        }
        return;
    }
    let prefix =
        [Place::spring("template.transaction-id-prefix"), Place::spring("producer.transaction-id-prefix")];
    let has_prefix = binding.first(&prefix).is_some();
    let in_group = settings.consumer.group.is_some()
        && !matches!(settings.consumer.subscription, Subscription::Partitions(_));
    let refusals = [
        (!has_prefix, "needs ids for its transactions", "set `spring.kafka.producer.transaction-id-prefix`"),
        (
            settings.ack != AckMode::Auto && !binding.is_broken(&["ack", "listener.ack-mode"]),
            "and acknowledging by hand exclude each other: what is handled is committed with what was sent, by the \
             handler's return",
            "leave `ack` out",
        ),
        (
            settings.commit == CommitStrategy::Async && !binding.is_broken(&["commit.strategy"]),
            "and asynchronous commits exclude each other: a transaction's end is waited for",
            "leave the commit strategy (or `enable-auto-commit`) out",
        ),
        (
            settings.ordering != Ordering::Partition && !binding.is_broken(&["ordering"]),
            "and `ordering` exclude each other: the records of a transaction are handled in the partition's order",
            "leave `ordering` out; partitions run side by side all the same",
        ),
        (
            settings.retry_topics.is_some(),
            "and retry topics exclude each other",
            "use `retry(..)`, whose tries are in place, and a dead letter",
        ),
        (
            !in_group && !binding.is_broken(&["group.id"]),
            "needs partitions that its group assigns: the coordinator is who tells an owner from one that was",
            "name topics instead of partitions, and a group",
        ),
    ];
    for (_, why, help) in refusals.into_iter().filter(|(refused, ..)| *refused) {
        let what = format!("= true of listener `{id}` {why}");
        binding.problems.error(Problem::new(at.clone(), "transactional", what).help(help));
    }
}
