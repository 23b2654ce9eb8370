//! What a listener consumes: topics, a pattern, or fixed partitions.

use kafka_client::config::{StartAt, Subscription};
use kafka_client::{TopicName, TopicPartition};

use super::super::instant;
use super::super::origin::Origin;
use super::super::problems::Problem;
use super::super::value::split_list;
use super::{Binding, Declared, Place, of_listener};
use crate::listener::PartitionsAttribute;

/// What is consumed, and where partitions start that are only known at start-up.
pub(super) struct Subscribed {
    pub subscription: Subscription,
    pub whole_topics: Vec<(TopicName, StartAt)>,
}

/// What the file says of topics replaces what the attribute says.
pub(super) fn subscription(binding: &mut Binding<'_>, listener: &Declared) -> Subscribed {
    let own = of_listener(listener);
    let attributes = &listener.attributes;
    let place = |key: &str| [Place::ours(format!("{own}.{key}"))];
    let topic = binding.first_list(&place("topic"));
    let topics = binding.first_list(&place("topics"));
    let pattern = binding.first(&place("pattern"));
    let said: Vec<_> = [
        topic.as_ref().map(|(_, said)| ("topic", said.origin.clone())),
        topics.as_ref().map(|(_, said)| ("topics", said.origin.clone())),
        pattern.as_ref().map(|said| ("pattern", said.origin.clone())),
    ]
    .into_iter()
    .flatten()
    .collect();
    if let [_, (second, origin), ..] = said.as_slice() {
        let what = "cannot stand beside another of topic, topics and pattern";
        binding.problems.error(Problem::new(origin.clone(), format!("{own}.{second}"), what));
    }
    if let Some((topics, said)) = topic.or(topics) {
        if said.broken {
            return of_topics(Vec::new());
        }
        binding.note("topics", topics.join(", "), said.origin.clone(), said.through.clone());
        return of_topics(valid(binding, topics, &said.origin));
    }
    if let Some(said) = pattern {
        return of_pattern(binding, said);
    }
    let forms = usize::from(!attributes.topics.is_empty())
        + usize::from(attributes.pattern.is_some())
        + usize::from(!attributes.partitions.is_empty());
    if forms > 1 {
        let what =
            format!("listener `{}` names more than one of topics, a pattern and partitions", listener.id);
        binding.problems.error(at_attribute(listener, "topic", what));
    }
    if let Some(place) = Place::attribute(listener, "pattern", attributes.pattern)
        && let Some(said) = binding.say(&place)
    {
        return of_pattern(binding, said);
    }
    if !attributes.partitions.is_empty() {
        return of_partitions(binding, listener);
    }
    of_attribute(binding, listener)
}

fn of_topics(topics: Vec<String>) -> Subscribed {
    Subscribed { subscription: Subscription::Topics(topics), whole_topics: Vec::new() }
}

fn of_attribute(binding: &mut Binding<'_>, listener: &Declared) -> Subscribed {
    let mut topics = Vec::new();
    let mut broken = false;
    let origin = origin(listener, "topic");
    let mut through = Vec::new();
    for topic in listener.attributes.topics {
        let said = Place::attribute(listener, "topic", Some(topic)).and_then(|place| binding.say(&place));
        if let Some(said) = said {
            broken |= said.broken;
            topics.extend(split_list(&said.text));
            through.extend(said.through);
        }
    }
    if topics.is_empty() && !broken {
        let key = format!("kafka-runtime.{}.topic", of_listener(listener));
        let what = format!("listener `{}` has no topic", listener.id);
        let help = format!("name one in its attribute (topic = \"..\") or under `{key}`");
        binding.problems.error(at_attribute(listener, "", what).help(help));
    }
    binding.note("topics", topics.join(", "), origin.clone(), through);
    of_topics(valid(binding, topics, &origin))
}

fn of_pattern(binding: &mut Binding<'_>, said: super::Said) -> Subscribed {
    if !said.broken
        && let Err(error) = regex_lite::Regex::new(&said.text)
    {
        binding.problems.error(said.problem(format!("is no regular expression: {error}")));
    }
    binding.note("pattern", said.shown(), said.origin, said.through);
    Subscribed { subscription: Subscription::Pattern(said.text), whole_topics: Vec::new() }
}

/// Kafka: letters, digits, dots, underscores and hyphens, at most 249 of them.
fn valid(binding: &mut Binding<'_>, topics: Vec<String>, origin: &Origin) -> Vec<String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    for topic in &topics {
        if topic.len() > 249 || topic == "." || topic == ".." || !topic.chars().all(allowed) {
            let what = format!("`{topic}` cannot be the name of a topic");
            let help = "letters, digits, `.`, `_` and `-`, at most 249";
            binding.problems.error(Problem::new(origin.clone(), "", what).help(help));
        }
    }
    let mut unique = Vec::with_capacity(topics.len());
    topics.into_iter().for_each(|topic| {
        if !unique.contains(&topic) {
            unique.push(topic);
        }
    });
    unique
}

fn of_partitions(binding: &mut Binding<'_>, listener: &Declared) -> Subscribed {
    let (mut fixed, mut whole_topics) = (Vec::<(TopicPartition, StartAt)>::new(), Vec::new());
    for attribute in listener.attributes.partitions {
        let Some((topic, partitions, start)) = one(binding, listener, attribute) else { continue };
        let topic = TopicName::new(&topic);
        let Some(partitions) = partitions else {
            whole_topics.push((topic, start));
            continue;
        };
        for partition in partitions {
            let partition = TopicPartition::new(topic, partition);
            if fixed.iter().any(|(known, _)| *known == partition) {
                let what = format!("listener `{}` names {partition} twice", listener.id);
                binding.problems.error(at_attribute(listener, "partitions", what));
            } else {
                fixed.push((partition, start));
            }
        }
    }
    let whole = whole_topics.iter().map(|(topic, start)| format!("{topic}-* from {start:?}"));
    let shown: Vec<_> =
        fixed.iter().map(|(one, start)| format!("{one} from {start:?}")).chain(whole).collect();
    binding.note("partitions", shown.join(", "), origin(listener, "partitions"), Vec::new());
    Subscribed { subscription: Subscription::Partitions(fixed), whole_topics }
}

type OnePartitions = (String, Option<Vec<i32>>, StartAt);

/// One `partitions(..)`; no numbers mean all.
fn one(
    binding: &mut Binding<'_>,
    listener: &Declared,
    attribute: &PartitionsAttribute,
) -> Option<OnePartitions> {
    let mut say = |text| {
        let place = Place::attribute(listener, "partitions", Some(text))?;
        binding.say(&place).filter(|said| !said.broken)
    };
    let topic = say(attribute.topic)?;
    let partitions = say(attribute.partitions)?;
    let start = match attribute.from {
        Some(from) => Some(say(from)?),
        None => None,
    };
    let topic = valid(binding, vec![topic.text], &topic.origin).pop()?;
    let numbers = match partitions.text.trim() {
        "*" => None,
        text => match numbers(text) {
            Some(numbers) => Some(numbers),
            None => {
                binding
                    .problems
                    .error(partitions.problem("names no partitions: `0, 2-4` or `*` for example"));
                return None;
            }
        },
    };
    let start = match start {
        None => StartAt::Committed,
        Some(said) => match start_at(said.text.trim()) {
            Some(start) => start,
            None => {
                let what = "is no start: committed, earliest, latest, an offset, or `@` and a time";
                binding.problems.error(said.problem(what));
                return None;
            }
        },
    };
    Some((topic, numbers, start))
}

/// `0, 2-4`
fn numbers(text: &str) -> Option<Vec<i32>> {
    const MOST: i32 = 100_000;
    let mut numbers = Vec::new();
    for part in text.split(',') {
        let (low, high) = part.split_once('-').unwrap_or((part, part));
        let (low, high): (i32, i32) = (low.trim().parse().ok()?, high.trim().parse().ok()?);
        if low < 0 || high < low || high >= MOST {
            return None;
        }
        numbers.extend(low..=high);
    }
    Some(numbers)
}

fn start_at(text: &str) -> Option<StartAt> {
    match text {
        "committed" => Some(StartAt::Committed),
        "earliest" => Some(StartAt::Beginning),
        "latest" => Some(StartAt::End),
        _ => match text.strip_prefix('@') {
            Some(time) => {
                let millis = time.parse().ok().or_else(|| instant::millis(time))?;
                Some(StartAt::Timestamp(millis))
            }
            None => match text.parse::<i64>() {
                Ok(offset) => (offset >= 0).then_some(StartAt::Offset(offset)),
                Err(_) => instant::millis(text).map(StartAt::Timestamp),
            },
        },
    }
}

fn origin(listener: &Declared, argument: &str) -> Origin {
    Origin::Attribute { location: listener.location, argument: argument.into() }
}

/// A problem at the listener's attribute.
pub(super) fn at_attribute(listener: &Declared, argument: &str, what: impl Into<String>) -> Problem {
    Problem::new(origin(listener, argument), "", what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_ranges() {
        assert_eq!(numbers("0, 2-4"), Some(vec![0, 2, 3, 4]));
        for bad in ["", "a", "4-2", "-1", "1-", "0-2000000000"] {
            assert_eq!(numbers(bad), None, "{bad}");
        }
    }

    #[test]
    fn starts() {
        assert_eq!(start_at("earliest"), Some(StartAt::Beginning));
        assert_eq!(start_at("42"), Some(StartAt::Offset(42)));
        assert_eq!(start_at("@1700000000000"), Some(StartAt::Timestamp(1_700_000_000_000)));
        assert_eq!(start_at("2023-11-14T22:13:20Z"), Some(StartAt::Timestamp(1_700_000_000_000)));
        assert_eq!(start_at("-1"), None);
        assert_eq!(start_at("yesterday"), None);
    }
}
