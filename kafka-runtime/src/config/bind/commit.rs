//! Strategy, cadence and acknowledgement: ours, and Spring's ack modes mapped onto them.
//!
//! ```text
//! kafka-runtime.listeners.<id> > the attribute > kafka-runtime.listener > spring's ack mode or auto-commit > default
//! ```

use std::time::Duration;

use super::super::origin::Origin;
use super::super::problems::Problem;
use super::super::settings::{AckMode, Cadence, CommitStrategy};
use super::super::value::{Notation, Value as _};
use super::{Binding, Client, Declared, Place, of_listener, transactional};

/// How a listener's offsets are committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Committing {
    pub strategy: CommitStrategy,
    pub cadence: Cadence,
    pub ack: AckMode,
}

pub(super) fn committing(
    binding: &mut Binding<'_>,
    client: Client<'_>,
    listener: &Declared,
    in_transactions: bool,
) -> Committing {
    let (mut spring, from) = of_spring(binding, client);
    let mut cadence_from = from.clone();
    if in_transactions && from.is_none() {
        (spring.cadence, cadence_from) = (transactional::cadence(), Some(transactional::origin()));
    }
    let own = of_listener(listener);
    let attributes = &listener.attributes;
    let layered = |keys: &[&str], argument: &'static str, said| {
        let mut places: Vec<_> = keys.iter().map(|key| Place::ours(format!("{own}.{key}"))).collect();
        places.extend(Place::attribute(listener, argument, said));
        places.extend(keys.iter().map(|key| Place::ours(format!("listener.{key}"))));
        places
    };
    let strategy = binding.word(
        "commit.strategy",
        &layered(&["commit.strategy", "commit"], "commit", attributes.commit),
        spring.strategy,
        &[
            ("sync", CommitStrategy::Sync),
            ("async", CommitStrategy::Async),
            ("combined", CommitStrategy::Combined),
        ],
    );
    let ack = binding.word(
        "ack",
        &layered(&["ack"], "ack", attributes.ack),
        spring.ack,
        &[
            ("auto", AckMode::Auto),
            ("manual", AckMode::Manual),
            ("manual-immediate", AckMode::ManualImmediate),
        ],
    );
    if let Some(from) = &from {
        for name in ["commit.strategy", "ack"] {
            binding.derive(name, from);
        }
    }
    let cadence = cadence(binding, listener, spring.cadence, cadence_from);
    Committing { strategy, cadence, ack }
}

/// The cadence of the strongest layer that says anything of it.
fn cadence(
    binding: &mut Binding<'_>,
    listener: &Declared,
    default: Cadence,
    from: Option<Origin>,
) -> Cadence {
    let in_file = |at: String| {
        [
            Some(Place::ours(format!("{at}.commit.every"))),
            Some(Place::ours(format!("{at}.commit.every.records"))),
            Some(Place::ours(format!("{at}.commit.every.time"))),
        ]
    };
    let every = listener.attributes.commit_every.unwrap_or_default();
    let attribute =
        [every.each, every.records, every.time].map(|text| Place::attribute(listener, "commit_every", text));
    for layer in [in_file(of_listener(listener)), attribute, in_file("listener".to_owned())] {
        if let Some(cadence) = one_cadence(binding, layer) {
            return cadence;
        }
    }
    binding.note("commit.every", show(default), from.unwrap_or(Origin::Default), Vec::new());
    default
}

fn one_cadence(binding: &mut Binding<'_>, [each, records, time]: [Option<Place>; 3]) -> Option<Cadence> {
    let mut say = |place: Option<Place>| place.and_then(|place| binding.say(&place));
    let (each, records, time) = (say(each), say(records), say(time));
    let first = each.as_ref().or(records.as_ref()).or(time.as_ref())?;
    let (origin, through) = (first.origin.clone(), first.through.clone());
    if let (Some(each), true) = (&each, records.is_some() || time.is_some()) {
        binding.problems.error(each.problem("cannot stand beside a number of records or a time"));
    }
    if [&each, &records, &time].into_iter().flatten().any(|said| said.broken) {
        binding.broken.push("commit.every".to_owned());
        return Some(Cadence::default());
    }
    let cadence = match each {
        Some(each) => {
            match super::super::value::word(&each.text, each.notation, super::super::schema::EACH) {
                Ok("record") => Cadence::Record,
                Ok(_) => Cadence::Batch,
                Err(what) => {
                    binding.problems.error(each.problem(what));
                    binding.broken.push("commit.every".to_owned());
                    Cadence::default()
                }
            }
        }
        None => Cadence::Every {
            records: records.and_then(|said| checked(binding, &said, u32::read)),
            time: time.and_then(|said| checked(binding, &said, Duration::read)),
        },
    };
    binding.note("commit.every", show(cadence), origin, through);
    Some(cadence)
}

/// A number of records or a time, which must not be nothing.
fn checked<T: Default + PartialEq>(
    binding: &mut Binding<'_>,
    said: &super::Said,
    read: impl Fn(&str, Notation) -> Result<T, String>,
) -> Option<T> {
    let value = match read(&said.text, said.notation) {
        Ok(value) if value == T::default() => Err("must be more than nothing".to_owned()),
        other => other,
    };
    value.map_err(|what| binding.problems.error(said.problem(what))).ok()
}

fn show(cadence: Cadence) -> String {
    match cadence {
        Cadence::Record => "record".to_owned(),
        Cadence::Batch => "batch".to_owned(),
        Cadence::Every { records, time } => {
            let records = records.map(|records| format!("{records} records"));
            let parts: Vec<_> = records.into_iter().chain(time.map(|time| time.show())).collect();
            parts.join(" or ")
        }
    }
}

/// What Spring's keys say, and which of them.
fn of_spring(binding: &mut Binding<'_>, client: Client<'_>) -> (Committing, Option<Origin>) {
    const MODES: &[(&str, Option<&str>)] = &[
        ("RECORD", Some("record")),
        ("BATCH", Some("batch")),
        ("TIME", Some("time")),
        ("COUNT", Some("count")),
        ("COUNT_TIME", Some("count_time")),
        ("MANUAL", Some("manual")),
        ("MANUAL_IMMEDIATE", Some("manual_immediate")),
    ];
    let mode = binding.word("listener.ack-mode", &[Place::spring("listener.ack-mode")], None, MODES);
    let count = binding.at_least_one("listener.ack-count", &[Place::spring("listener.ack-count")], 1u32);
    let time =
        binding.read("listener.ack-time", &[Place::spring("listener.ack-time")], Duration::from_secs(5));
    let auto = binding.read("enable.auto.commit", &client.places("enable.auto.commit"), false);
    let interval = binding.read(
        "auto.commit.interval.ms",
        &client.places("auto.commit.interval.ms"),
        Duration::from_secs(5),
    );
    let mode_origin = binding.origin_of("listener.ack-mode");
    let every = |records, time| Cadence::Every { records, time };
    let sync = |cadence, ack| Committing { strategy: CommitStrategy::Sync, cadence, ack };
    if auto {
        let origin = binding.origin_of("enable.auto.commit");
        if mode.is_some() {
            let what = format!("= true and `listener.ack-mode` ({mode_origin}) exclude each other");
            let problem = Problem::new(origin, "enable-auto-commit", what).help("remove one of them");
            binding.problems.error(problem);
        }
        let interval = interval.max(Duration::from_millis(1));
        let cadence = every(None, Some(interval));
        let committing = Committing { strategy: CommitStrategy::Async, cadence, ack: AckMode::Auto };
        return (committing, Some(Origin::Derived("enable.auto.commit".into())));
    }
    let time = time.max(Duration::from_millis(1));
    let committing = match mode {
        None => return (Committing::default(), None),
        Some("record") => sync(Cadence::Record, AckMode::Auto),
        Some("time") => sync(every(None, Some(time)), AckMode::Auto),
        Some("count") => sync(every(Some(count), None), AckMode::Auto),
        Some("count_time") => sync(every(Some(count), Some(time)), AckMode::Auto),
        Some("manual") => sync(Cadence::Batch, AckMode::Manual),
        Some("manual_immediate") => sync(Cadence::Batch, AckMode::ManualImmediate),
        Some(_) => sync(Cadence::Batch, AckMode::Auto),
    };
    (committing, Some(Origin::Derived("listener.ack-mode".into())))
}

/// What cannot be kept together.
pub(super) fn contradictions(binding: &mut Binding<'_>, listener: &Declared, cadence: Cadence, ack: AckMode) {
    let id = listener.id;
    if listener.batch && cadence == Cadence::Record && !binding.is_broken(&["commit.every"]) {
        let what = format!("listener `{id}` takes batches, and cannot commit after each record");
        let help = format!("set `kafka-runtime.{}.commit.every: batch`", of_listener(listener));
        let problem = Problem::new(binding.origin_or(listener, "commit.every"), "", what).help(help);
        binding.problems.error(problem);
    }
    let by_hand = ack != AckMode::Auto;
    if binding.is_broken(&["ack", "listener.ack-mode"]) {
        return;
    }
    let origin = binding.origin_or(listener, "ack");
    if by_hand && !listener.takes_ack {
        let what =
            format!("listener `{id}` is acknowledged by hand, and has no argument `Ack` to do it with");
        let help = format!("add `ack: Ack`, or set `kafka-runtime.{}.ack: auto`", of_listener(listener));
        binding.problems.error(Problem::new(origin, "", what).help(help));
    } else if !by_hand && listener.takes_ack {
        let what = format!("listener `{id}` takes an `Ack`, and is acknowledged by its return");
        binding
            .problems
            .error(Problem::new(origin, "", what).help("write `ack = \"manual\"` in its attribute"));
    } else if by_hand && binding.noted("enable.auto.commit") == Some("true") {
        let what = format!("= true and listener `{id}`, which is acknowledged by hand, exclude each other");
        let at = binding.origin_of("enable.auto.commit");
        binding.problems.error(Problem::new(at, "enable-auto-commit", what));
    }
}
