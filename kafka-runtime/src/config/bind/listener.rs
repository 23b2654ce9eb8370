//! One listener: what the attribute says, what the file says of it, and what holds for all.

use std::time::Duration;

use kafka_client::config::Subscription;

use super::super::origin::Origin;
use super::super::problems::Problem;
use super::super::schema::Scope;
use super::super::settings::{ClientIds, ListenerSettings};
use super::super::value::Value as _;
use super::subscription::Subscribed;
use super::{
    Binding, Client, Declared, Place, client, commit, consumer, controls, errors, forward, of_listener,
    order, recovery, rules, subscription, transactional,
};
use crate::listener::{Attributes, SourceLocation};

/// Everything that `listener` runs by.
pub(crate) fn listener(binding: &mut Binding<'_>, listener: &Declared) -> ListenerSettings {
    binding.section(format!("listener {}", listener.id));
    let subscribed = subscription::subscription(binding, listener);
    let settings = settings(binding, listener, subscribed);
    commit::contradictions(binding, listener, settings.cadence, settings.ack);
    transactional::contradictions(binding, listener, &settings);
    order::contradictions(binding, listener, &settings);
    forward::contradictions(binding, listener, &settings);
    rules::of_listener(binding, listener, &settings);
    settings
}

/// What holds for a listener that says nothing of its own, where no listener is known.
pub(crate) fn every_listener(binding: &mut Binding<'_>) {
    let any = Declared {
        // No name in a file is a mere star.
        id: "*",
        location: SourceLocation { file: "", line: 0, column: 0 },
        attributes: Attributes::default(),
        batch: false,
        takes_ack: false,
        takes_tx: false,
        error_type: None,
    };
    binding.section("every listener");
    let nothing = Subscribed { subscription: Subscription::Topics(Vec::new()), whole_topics: Vec::new() };
    settings(binding, &any, nothing);
}

fn settings(binding: &mut Binding<'_>, listener: &Declared, subscribed: Subscribed) -> ListenerSettings {
    let client = Client { scope: Scope::Consumer, listener: Some(listener) };
    let mut consumer = consumer::consumer(binding, client, subscribed.subscription);
    let transactional = transactional::transactional(binding, listener);
    if transactional {
        consumer.isolation = transactional::isolation(binding, consumer.isolation);
    }
    let committing = commit::committing(binding, client, listener, transactional);
    let max_poll_interval = match &consumer.group {
        Some(group) => group.rebalance_timeout,
        None => binding.time(
            "max.poll.interval.ms",
            &client.places("max.poll.interval.ms"),
            Duration::from_secs(300),
        ),
    };
    let (drain_timeout, commit_timeout) =
        deadlines(binding, listener, max_poll_interval, consumer.api_timeout);
    let attributes = &listener.attributes;
    let group = consumer.group.as_ref().map(|group| group.group_id.as_str());
    let client_ids = client_ids(binding, client, listener, group);
    let controls = controls::controls(binding, listener);
    let retry_topics = recovery::retry_topics(binding, listener, &consumer.subscription);
    ListenerSettings {
        id: listener.id.to_owned(),
        client: kafka_client::config::ClientConfig {
            client_id: client_ids.of_member(0),
            ..client::common(binding, client)
        },
        client_ids,
        members: binding.at_least_one("members", &layered(listener, "members", attributes.members), 1),
        concurrency: concurrency(binding, listener),
        ordering: order::ordering(binding, listener),
        remember: order::remember(binding, listener),
        transactional,
        commit: committing.strategy,
        cadence: committing.cadence,
        ack: committing.ack,
        commit_timeout,
        retry: recovery::retry(binding, listener, retry_topics.is_some()),
        retry_errors: errors::errors(binding, listener),
        on_exhausted: recovery::on_exhausted(binding, listener),
        dead_letters: recovery::dead_letters(binding, listener),
        retry_topics,
        send_to: forward::send_to(binding, listener),
        hop: None,
        handler_timeout: recovery::handler_timeout(binding, listener),
        max_poll_records: binding.at_least_one("max.poll.records", &client.places("max.poll.records"), 500),
        max_poll_interval,
        auto_startup: auto_startup(binding, listener),
        shutdown_timeout: binding.read(
            "shutdown-timeout",
            &[Place::ours("listener.shutdown-timeout")],
            Duration::from_secs(20),
        ),
        drain_timeout,
        missing_topics_fatal: binding.read(
            "missing-topics-fatal",
            &[
                Place::ours(format!("{}.missing-topics-fatal", of_listener(listener))),
                Place::spring("listener.missing-topics-fatal"),
            ],
            false,
        ),
        on_revoke: controls.on_revoke,
        rate_limit: controls.rate_limit,
        circuit_breaker: controls.circuit_breaker,
        pause_when: controls.pause_when,
        idle_event_interval: controls.idle_event_interval,
        idle_partition_event_interval: controls.idle_partition_event_interval,
        whole_topics: subscribed.whole_topics,
        consumer,
    }
}

/// Where a setting of ours can be said: for the listener, in its attribute, for all.
pub(super) fn layered(listener: &Declared, key: &'static str, said: Option<&'static str>) -> Vec<Place> {
    let mut places = vec![Place::ours(format!("{}.{key}", of_listener(listener)))];
    places.extend(Place::attribute(listener, key, said));
    places.push(Place::ours(format!("listener.{key}")));
    places
}

fn concurrency(binding: &mut Binding<'_>, listener: &Declared) -> Option<usize> {
    let mut places = vec![Place::ours(format!("{}.concurrency", of_listener(listener)))];
    places.extend(Place::attribute(listener, "concurrency", listener.attributes.concurrency));
    places.push(Place::spring("listener.concurrency"));
    let read = |text: &str, notation| match usize::read(text, notation) {
        Ok(0) => Err("must be at least 1".to_owned()),
        other => other.map(Some),
    };
    let show = |bound: &Option<usize>| {
        bound.map_or_else(|| "one per partition".to_owned(), |bound| bound.to_string())
    };
    binding.parse("concurrency", &places, None, read, show)
}

fn auto_startup(binding: &mut Binding<'_>, listener: &Declared) -> bool {
    let mut places = vec![Place::ours(format!("{}.auto-startup", of_listener(listener)))];
    places.extend(Place::attribute(listener, "auto_startup", listener.attributes.auto_startup));
    places.push(Place::spring("listener.auto-startup"));
    binding.read("auto-startup", &places, true)
}

/// How long handlers may finish, and a commit may be tried, when partitions are given away. Together they must fit
/// into `max.poll.interval.ms`, or the group goes on without this member: what is not said is shortened to fit.
fn deadlines(
    binding: &mut Binding<'_>,
    listener: &Declared,
    max_poll_interval: Duration,
    api_timeout: Duration,
) -> (Duration, Duration) {
    let (drain_name, commit_name) = ("drain-timeout", "commit-timeout");
    let drain = binding.read(
        drain_name,
        &layered(listener, drain_name, listener.attributes.controls.drain_timeout),
        Duration::from_secs(10),
    );
    let commit = binding.read(commit_name, &layered(listener, commit_name, None), api_timeout);
    if drain.saturating_add(commit) <= max_poll_interval
        || binding.is_broken(&[drain_name, commit_name, "max.poll.interval.ms", "default.api.timeout.ms"])
    {
        return (drain, commit);
    }
    let (drain_at, commit_at) = (binding.origin_of(drain_name), binding.origin_of(commit_name));
    let (drain_free, commit_free) = (drain_at == Origin::Default, commit_at == Origin::Default);
    let short_drain = if drain_free { drain.min(max_poll_interval / 4) } else { drain };
    let left = max_poll_interval.saturating_sub(short_drain);
    let short_commit = if commit_free { commit.min(left) } else { commit };
    if short_drain.saturating_add(short_commit) > max_poll_interval || short_commit.is_zero() {
        let what = format!(
            "of listener `{}` ({}) and {commit_name} ({}) together exceed max.poll.interval.ms ({}): a rebalance would not wait for them",
            listener.id,
            short_drain.show(),
            short_commit.show(),
            max_poll_interval.show(),
        );
        let at = if drain_free { commit_at } else { drain_at };
        binding.problems.error(Problem::new(at, drain_name, what));
        return (drain, commit);
    }
    let from = Origin::Derived("max.poll.interval.ms".into());
    for (name, free, value) in
        [(drain_name, drain_free, short_drain), (commit_name, commit_free, short_commit)]
    {
        if free {
            binding.note(name, value.show(), from.clone(), Vec::new());
        }
    }
    (short_drain, short_commit)
}

/// What is said with a number from 0 after it, as in Spring; else `consumer-<group>-` and a number from 1, as in Java.
fn client_ids(
    binding: &mut Binding<'_>,
    client: Client<'_>,
    listener: &Declared,
    group: Option<&str>,
) -> ClientIds {
    let mut places = vec![Place::ours(format!("{}.client-id", of_listener(listener)))];
    places.extend(Place::attribute(listener, "client_id", listener.attributes.client_id));
    let mut of_client = client.places("client.id");
    // The listener's own properties are nearer than what holds for all listeners.
    let own = of_client.iter().take_while(|place| !matches!(place, Place::Key { spring: true, .. })).count();
    places.extend(of_client.drain(..own));
    places.push(Place::spring("listener.client-id"));
    places.extend(of_client);
    let (ids, origin, through) = match client::said_id(binding, &places) {
        Some(said) => (ClientIds { base: said.text, first: 0 }, said.origin, said.through),
        None => {
            let base = group.map_or_else(|| "consumer".to_owned(), |group| format!("consumer-{group}"));
            (ClientIds { base, first: 1 }, Origin::Default, Vec::new())
        }
    };
    binding.note("client.id", ids.of_member(0), origin, through);
    ids
}
