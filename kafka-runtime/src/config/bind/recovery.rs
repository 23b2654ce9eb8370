//! What becomes of records that fail: tries, dead letters, time.

use std::time::Duration;

use kafka_client::config::Subscription;

use super::super::origin::Origin;
use super::super::problems::Problem;
use super::super::settings::{DeadLetters, OnExhausted, Retry, RetryTopicNames, RetryTopics};
use super::super::value::{Notation, Value};
use super::listener::layered;
use super::{Binding, Declared, Place, of_listener};

/// The least number that a setting may have, as an error.
fn least(text: &str, notation: Notation, fits: impl Fn(f64) -> bool, otherwise: &str) -> Result<f64, String> {
    match f64::read(text, notation) {
        Ok(number) if !fits(number) => Err(otherwise.to_owned()),
        other => other,
    }
}

/// Tries in place. Retry topics are instead of them, unless both are asked for.
pub(super) fn retry(binding: &mut Binding<'_>, listener: &Declared, has_topics: bool) -> Retry {
    let (mut defaults, said) = (Retry::default(), listener.attributes.retry);
    if has_topics {
        defaults.attempts = 1;
    }
    let attempts = layered(listener, "retry.attempts", said.attempts);
    let (multiplier, jitter) = ("retry.backoff.multiplier", "retry.backoff.jitter");
    let (initial, max) = backoff(binding, listener, (defaults.initial, defaults.max));
    Retry {
        attempts: binding.at_least_one("retry.attempts", &attempts, defaults.attempts),
        initial,
        max,
        multiplier: binding.parse(
            multiplier,
            &layered(listener, multiplier, said.multiplier),
            defaults.multiplier,
            |text, notation| least(text, notation, |number| number >= 1.0, "must be at least 1"),
            f64::show,
        ),
        jitter: binding.parse(
            jitter,
            &layered(listener, jitter, said.jitter),
            defaults.jitter,
            |text, notation| least(text, notation, |part| (0.0..=1.0).contains(&part), "must be from 0 to 1"),
            f64::show,
        ),
        max_elapsed: binding
            .optional("retry.max-elapsed", &layered(listener, "retry.max-elapsed", said.max_elapsed)),
    }
}

/// The first wait and the longest: one by one, or as a range (`100ms..10s`), or one text for both.
fn backoff(
    binding: &mut Binding<'_>,
    listener: &Declared,
    (initial, max): (Duration, Duration),
) -> (Duration, Duration) {
    let (initial_name, max_name) = ("retry.backoff.initial", "retry.backoff.max");
    let mut read = |name: &str, default: Duration, first: bool| {
        let in_file =
            |at: String| [Place::ours(format!("{at}.{name}")), Place::ours(format!("{at}.retry.backoff"))];
        let attribute = Place::attribute(listener, "retry", listener.attributes.retry.backoff);
        let own = in_file(of_listener(listener)).into_iter();
        let places: Vec<Place> = own.chain(attribute).chain(in_file("listener".to_owned())).collect();
        let half = |text: &str, notation| {
            let (low, high) = text.split_once("..").unwrap_or((text, text));
            Duration::read(if first { low } else { high }.trim(), notation)
        };
        binding.parse(name, &places, default, half, Duration::show)
    };
    let (low, high) = (read(initial_name, initial, true), read(max_name, max, false));
    if high >= low {
        return (low, high);
    }
    // Only one of them was said: the other gives way. Both: a contradiction.
    match (binding.origin_of(initial_name), binding.origin_of(max_name)) {
        (_, Origin::Default) => (low, low),
        (Origin::Default, _) => (high, high),
        (said, _) => {
            let what = format!("({}) is above the longest wait ({})", low.show(), high.show());
            binding.problems.error(Problem::new(said, initial_name, what));
            (low, high)
        }
    }
}

/// Retry topics, if they are asked for.
pub(super) fn retry_topics(
    binding: &mut Binding<'_>,
    listener: &Declared,
    subscription: &Subscription,
) -> Option<RetryTopics> {
    let said = listener.attributes.retry_topics;
    let places = |key: &'static str, said: Option<&'static str>, of_spring: &[&str]| {
        let mut places = layered(listener, key, said);
        places.extend(of_spring.iter().map(|key| Place::spring(format!("retry.topic.{key}"))));
        places
    };
    let enabled = "retry-topics.enabled";
    if !are_on(binding, listener, enabled, &places(enabled, said.map(|_| "true"), &["enabled"])) {
        return None;
    }
    let said = said.unwrap_or_default();
    let shared = matches!(subscription, Subscription::Topics(_));
    let what = match (shared, listener.batch) {
        (false, _) => "and reads a pattern or fixed partitions: retry topics need topics by name",
        (_, true) => "and takes batches: retry topics are for single records",
        (true, false) => "",
    };
    if !what.is_empty() {
        let origin = binding.origin_or(listener, enabled);
        let what = format!("listener `{}` has retry topics {what}", listener.id);
        binding.problems.error(Problem::new(origin, "", what));
    }
    let by_spring = binding.say(&Place::spring("retry.topic.enabled")).is_some();
    let names = if by_spring { RetryTopicNames::Index } else { RetryTopicNames::Delay };
    let (initial, max) = retry_waits(binding, listener, said.backoff);
    let multiplier = "retry-topics.multiplier";
    let factor = |text: &str, notation| match f64::read(text, notation) {
        // Spring's 0 and 1 mean the same wait each time.
        Ok(factor) if (0.0..=1.0).contains(&factor) => Ok(1.0),
        Ok(factor) if factor < 0.0 => Err("must be at least 1".to_owned()),
        other => other,
    };
    let of_spring = ["backoff.multiplier", "multiplier"];
    Some(RetryTopics {
        attempts: binding.at_least_one(
            "retry-topics.attempts",
            &places("retry-topics.attempts", said.attempts, &["attempts"]),
            3,
        ),
        initial,
        max,
        multiplier: binding.parse(
            multiplier,
            &places(multiplier, said.multiplier, &of_spring),
            1.0,
            factor,
            f64::show,
        ),
        names: binding.word(
            "retry-topics.names",
            &places("retry-topics.names", said.names, &[]),
            names,
            &[("delay", RetryTopicNames::Delay), ("index", RetryTopicNames::Index)],
        ),
    })
}

/// Whether a listener has retry topics. Who says how they are to be means to have them: `retry_topics(attempts = 4)` as
/// well as `retry-topics.attempts: 4` of the listener itself.
fn are_on(binding: &mut Binding<'_>, listener: &Declared, enabled: &str, places: &[Place]) -> bool {
    let own = |key: &str| Place::ours(format!("{}.{key}", of_listener(listener)));
    if binding.say(&own(enabled)).is_none() {
        let how =
            ["attempts", "backoff", "multiplier", "names"].map(|key| own(&format!("retry-topics.{key}")));
        if let Some(said) = binding.first(&how) {
            binding.note(enabled, true.show(), said.origin, said.through);
            return true;
        }
    }
    binding.read(enabled, places, false)
}

/// The first wait and the longest of retry topics.
fn retry_waits(
    binding: &mut Binding<'_>,
    listener: &Declared,
    said: Option<&'static str>,
) -> (Duration, Duration) {
    let key = "retry-topics.backoff";
    let mut read = |name: &'static str, default: Duration, of_spring: [&str; 2]| {
        let mut places = layered(listener, key, said);
        places.extend(of_spring.iter().map(|key| Place::spring(format!("retry.topic.{key}"))));
        let half = |text: &str, notation| {
            let (low, high) = text.split_once("..").unwrap_or((text, text));
            Duration::read(if name.ends_with("initial") { low } else { high }.trim(), notation)
        };
        binding.parse(name, &places, default, half, Duration::show)
    };
    let initial = read("retry-topics.backoff.initial", Duration::from_secs(1), ["backoff.delay", "delay"]);
    let max = read("retry-topics.backoff.max", Duration::from_secs(30), ["backoff.max-delay", "max-delay"]);
    (initial, max.max(initial))
}

pub(super) fn on_exhausted(binding: &mut Binding<'_>, listener: &Declared) -> OnExhausted {
    let name = "on-exhausted";
    let words =
        [("dead-letter", OnExhausted::DeadLetter), ("skip", OnExhausted::Skip), ("stop", OnExhausted::Stop)];
    let places = layered(listener, name, listener.attributes.on_exhausted);
    binding.word(name, &places, OnExhausted::default(), &words)
}

pub(super) fn dead_letters(binding: &mut Binding<'_>, listener: &Declared) -> DeadLetters {
    let (defaults, said) = (DeadLetters::default(), listener.attributes.dead_letter);
    let topic = topic(binding, listener, defaults.topic);
    let mut create = layered(listener, "dead-letter.create", said.create);
    create.push(Place::spring("admin.auto-create"));
    let number = |text: &str, notation| match i16::read(text, notation) {
        Ok(number) if number < 1 => Err("must be at least 1".to_owned()),
        other => other.map(Some),
    };
    let show =
        |number: &Option<i16>| number.map_or_else(|| "the broker's".to_owned(), |number| number.to_string());
    DeadLetters {
        topic,
        create: binding.read("dead-letter.create", &create, defaults.create),
        partitions: {
            let places = layered(listener, "dead-letter.partitions", said.partitions);
            let read = |text: &str, notation| match i32::read(text, notation) {
                Ok(number) if number < 1 => Err("must be at least 1".to_owned()),
                other => other.map(Some),
            };
            let show = |number: &Option<i32>| {
                number.map_or_else(|| "as the topic has".to_owned(), |n| n.to_string())
            };
            binding.parse("dead-letter.partitions", &places, None, read, show)
        },
        replication: binding.parse(
            "dead-letter.replication",
            &layered(listener, "dead-letter.replication", said.replication),
            None,
            number,
            show,
        ),
        retention: binding
            .optional("dead-letter.retention", &layered(listener, "dead-letter.retention", said.retention)),
    }
}

/// `dead-letter`, or `dead-letter.topic`: the name of a topic, with `{topic}` in it perhaps.
fn topic(binding: &mut Binding<'_>, listener: &Declared, default: String) -> String {
    let in_file = |at: String| {
        [Place::ours(format!("{at}.dead-letter.topic")), Place::ours(format!("{at}.dead-letter"))]
    };
    let attribute = Place::attribute(listener, "dead_letter", listener.attributes.dead_letter.topic);
    let own = in_file(of_listener(listener)).into_iter();
    let places: Vec<Place> = own.chain(attribute).chain(in_file("listener".to_owned())).collect();
    let read = |text: &str, _| {
        let name = text.trim().replace("{topic}", "t");
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        match name.len() <= 249 && name != "." && name != ".." && name.chars().all(legal) {
            true => Ok(text.trim().to_owned()),
            false => {
                Err("cannot be the name of a topic: letters, digits, `.`, `_` and `-`, and `{topic}`"
                    .to_owned())
            }
        }
    };
    binding.parse("dead-letter.topic", &places, default, read, String::clone)
}

pub(super) fn handler_timeout(binding: &mut Binding<'_>, listener: &Declared) -> Option<Duration> {
    let name = "handler-timeout";
    let places = layered(listener, name, listener.attributes.handler_timeout);
    let read = |text: &str, notation| match Duration::read(text, notation) {
        Ok(time) if time.is_zero() => Err("must be more than nothing".to_owned()),
        other => other.map(Some),
    };
    let show = |limit: &Option<Duration>| limit.map_or_else(|| "none".to_owned(), |limit| limit.show());
    binding.parse(name, &places, None, read, show)
}
