//! Which records wait for each other, and what of that goes with what.

use super::super::problems::Problem;
use super::super::settings::{AckMode, ListenerSettings, Ordering};
use super::listener::layered;
use super::{Binding, Declared, Place, of_listener};

pub(super) fn ordering(binding: &mut Binding<'_>, listener: &Declared) -> Ordering {
    let places = layered(listener, "ordering", listener.attributes.ordering);
    let words = [("partition", Ordering::Partition), ("key", Ordering::Key), ("none", Ordering::None)];
    binding.word("ordering", &places, Ordering::default(), &words)
}

pub(super) fn remember(binding: &mut Binding<'_>, listener: &Declared) -> bool {
    let key = "commit.remember";
    let mut places = vec![Place::ours(format!("{}.{key}", of_listener(listener)))];
    places.extend(Place::attribute(listener, "commit_remember", listener.attributes.commit_remember));
    places.push(Place::ours(format!("listener.{key}")));
    binding.read(key, &places, true)
}

/// What cannot be kept together.
pub(super) fn contradictions(binding: &mut Binding<'_>, listener: &Declared, settings: &ListenerSettings) {
    let word = match settings.ordering {
        Ordering::Partition => return,
        Ordering::Key => "key",
        Ordering::None => "none",
    };
    if binding.is_broken(&["ordering"]) {
        return;
    }
    let unbounded = settings.concurrency.is_none() && !binding.is_broken(&["concurrency"]);
    let (id, at) = (listener.id, binding.origin_or(listener, "ordering"));
    let mut refuse = |what: &str, help: String| {
        let what = format!("= `{word}` of listener `{id}` {what}");
        binding.problems.error(Problem::new(at.clone(), "ordering", what).help(help));
    };
    if listener.batch {
        refuse(
            "needs a handler of single records, and this one takes batches: their order is the partition's",
            "take one record a call, or leave `ordering` out".to_owned(),
        );
    }
    if settings.ack != AckMode::Auto {
        refuse(
            "and `ack = \"manual\"` exclude each other: records that are acknowledged by hand are handed over one \
             after the other already while earlier ones wait for their `Ack`",
            "leave one of them out; with `ordering` the handler's return says that a record is done"
                .to_owned(),
        );
    }
    if unbounded {
        let key = format!("kafka-runtime.{}.concurrency", of_listener(listener));
        refuse(
            "needs to know how many handlers may run at once",
            format!("write `concurrency = 64` in its attribute, or set `{key}`"),
        );
    }
}
