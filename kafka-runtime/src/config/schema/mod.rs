//! Every key there is, in one table: what it takes, its default, and what it does here.
//!
//! The table is what the file is checked against, what [`suggest`](super::suggest) searches for the nearest name,
//! what connects Spring's keys with Kafka's names, and what `docs/configuration.md` is made from.

mod kafka;
mod ours;
mod spring;

pub(crate) use kafka::{KAFKA, KafkaKey};
pub(crate) use ours::EACH;

use std::sync::LazyLock;
use std::time::Duration;

use super::classes;
use super::names::{self, Element};
use super::value::{self, Notation, Size, Value as _};

/// What a key takes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Shape {
    /// Any text.
    Text,
    /// A list, or a text with commas.
    List,
    /// A boolean.
    Flag,
    /// A whole number, at least this.
    Whole(i64),
    /// A number.
    Real,
    /// A duration.
    Time,
    /// A duration; a bare number is in seconds.
    Seconds,
    /// A number of bytes.
    Size,
    /// One of these words.
    Word(&'static [&'static str]),
    /// The Java class of a serializer.
    Serializer,
    /// The Java class of a deserializer.
    Deserializer,
    /// A map of Kafka's names, for the clients of this scope.
    Names(Scope),
    /// A map of anything.
    Map,
}

impl Shape {
    /// Whether `text` has this shape; else the end of the sentence "`x` ...".
    pub(crate) fn check(self, text: &str, notation: Notation) -> Result<(), String> {
        match self {
            Self::Text | Self::List | Self::Names(_) | Self::Map => Ok(()),
            Self::Flag => bool::read(text, notation).map(drop),
            Self::Whole(least) => match i32::read(text, notation) {
                Ok(number) if i64::from(number) < least => Err(format!("must be at least {least}")),
                other => other.map(drop),
            },
            Self::Real => f64::read(text, notation).map(drop),
            Self::Time => Duration::read(text, notation).map(drop),
            Self::Seconds => Duration::read(text, Notation::SpringSeconds).map(drop),
            Self::Size => Size::read(text, notation).map(drop),
            Self::Word(words) => value::word(text, notation, words).map(drop),
            Self::Serializer => classes::serializer(text).map(drop),
            Self::Deserializer => classes::deserializer(text).map(drop),
        }
    }

    /// How Spring's typed keys of this shape are written.
    pub(crate) fn notation(self) -> Notation {
        match self {
            Self::Seconds => Notation::SpringSeconds,
            _ => Notation::Spring,
        }
    }

    /// For the documentation.
    pub(crate) fn describe(self) -> String {
        match self {
            Self::Text => "text".to_owned(),
            Self::List => "list".to_owned(),
            Self::Flag => "boolean".to_owned(),
            Self::Whole(_) => "number".to_owned(),
            Self::Real => "decimal".to_owned(),
            Self::Time => "duration".to_owned(),
            Self::Seconds => "duration, bare: seconds".to_owned(),
            Self::Size => "size".to_owned(),
            Self::Word(words) => words.join(", "),
            Self::Serializer | Self::Deserializer => "class".to_owned(),
            Self::Names(_) => "Kafka's names".to_owned(),
            Self::Map => "map".to_owned(),
        }
    }
}

/// What a key does.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Effect {
    /// What it says.
    Honoured,
    /// Something of ours, named here.
    Mapped(&'static str),
    /// Nothing; said in the log, with this reason.
    Ignored(&'static str),
    /// Refuses to start, for this reason.
    Refused(&'static str),
    /// Refuses to start with any value but this, for this reason.
    RefusedUnless(&'static str, &'static str),
}

/// One key, relative to its section.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Key {
    /// In kebab case; `*` stands for one name, `**` for any number, `[]` for an index.
    pub path: &'static str,
    pub shape: Shape,
    /// For people; empty where there is none.
    pub default: &'static str,
    /// The setting of the client that it is, by Kafka's name; empty where it is none.
    pub kafka: &'static str,
    pub effect: Effect,
}

/// Keys that stand in the same places.
#[derive(Debug)]
pub(crate) struct Section {
    /// Where, relative to the prefix.
    pub at: &'static [&'static str],
    /// Under `spring.kafka` too, not only under `kafka-runtime`.
    pub spring: bool,
    pub keys: &'static [Key],
}

/// The keys of Spring.
pub(crate) const SPRING: &str = "spring.kafka";
/// Our own, and Spring's again; these win.
pub(crate) const OURS: &str = "kafka-runtime";

/// The clients that a name of Kafka's concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    Common,
    Consumer,
    Producer,
    Admin,
}

impl Scope {
    /// The section of its keys, empty for the common one.
    pub(crate) fn section(self) -> &'static str {
        match self {
            Self::Common => "",
            Self::Consumer => "consumer",
            Self::Producer => "producer",
            Self::Admin => "admin",
        }
    }
}

/// Every section.
pub(crate) fn sections() -> impl Iterator<Item = &'static Section> {
    spring::SECTIONS.iter().chain(ours::SECTIONS)
}

/// A key at one of its places.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Under `spring.kafka` too.
    pub spring: bool,
    /// The whole path below the prefix.
    pub path: String,
    /// Its canonical form, `*`, `**` and `[]` as they are.
    pattern: Vec<String>,
    pub key: &'static Key,
}

/// Every key with its whole path below the prefix.
pub(crate) fn keys() -> &'static [Entry] {
    static KEYS: LazyLock<Vec<Entry>> = LazyLock::new(|| {
        let entries = sections().flat_map(|section| {
            let places = section.at.iter().flat_map(move |at| section.keys.iter().map(move |key| (at, key)));
            places.map(move |(at, key)| {
                let path = names::join(at, key.path);
                Entry { spring: section.spring, pattern: pattern(&path), path, key }
            })
        });
        entries.collect()
    });
    &KEYS
}

fn pattern(path: &str) -> Vec<String> {
    let parts = path.split('.').flat_map(|part| match part.strip_suffix("[]") {
        Some(name) => vec![names::uniform(name), "[]".to_owned()],
        None => vec![names::uniform(part)],
    });
    parts.collect()
}

/// The paths, relative to `section`, of the typed keys that are the Kafka setting `name`.
pub(crate) fn typed(section: &str, name: &str) -> impl Iterator<Item = &'static Entry> {
    keys().iter().filter(move |entry| {
        entry.key.kafka == name
            && match section {
                "" => !entry.path.contains('.'),
                section => names::below(&entry.path, section).is_some(),
            }
    })
}

/// What a path below a prefix is.
#[derive(Debug)]
pub(crate) enum Known {
    /// This key. For a map, what stands below it.
    Key(&'static Key, String),
    /// An element of a key that takes one value.
    Element,
    /// Keys stand below it; it takes no value itself.
    Group,
    /// Nothing.
    Unknown,
}

/// Looks `path` (as written, below the prefix) up.
pub(crate) fn find(path: &str, spring_prefix: bool) -> Known {
    let wanted = names::elements(path);
    let mut known = Known::Unknown;
    for Entry { spring, pattern, key, .. } in keys() {
        if spring_prefix && !spring {
            continue;
        }
        match fits(&wanted, pattern) {
            Fit::Exact => return Known::Key(key, String::new()),
            Fit::Below(rest) => match key.shape {
                Shape::List if matches!(rest, [Element::Index(_)]) => return Known::Key(key, String::new()),
                Shape::Names(_) | Shape::Map => return Known::Key(key, names::dotted(rest)),
                _ if matches!(rest, [Element::Index(_)]) => known = Known::Element,
                _ => {}
            },
            Fit::Above if matches!(known, Known::Unknown) => known = Known::Group,
            Fit::Above | Fit::No => {}
        }
    }
    known
}

enum Fit<'e, 'p> {
    Exact,
    /// The pattern ends earlier.
    Below(&'e [Element<'p>]),
    /// The path ends earlier.
    Above,
    No,
}

fn fits<'e, 'p>(wanted: &'e [Element<'p>], pattern: &[String]) -> Fit<'e, 'p> {
    let mut wanted = wanted;
    for expected in pattern {
        let Some((element, rest)) = wanted.split_first() else { return Fit::Above };
        let fits = match (expected.as_str(), element) {
            ("**", _) => return Fit::Below(wanted),
            ("[]", element) => matches!(element, Element::Index(_)),
            ("*", element) => !matches!(element, Element::Index(_)),
            (expected, Element::Word(word)) => names::uniform(word) == expected,
            _ => false,
        };
        if !fits {
            return Fit::No;
        }
        wanted = rest;
    }
    if wanted.is_empty() { Fit::Exact } else { Fit::Below(wanted) }
}

/// Every path that can be written under a prefix, for suggestions; `id` stands for the names in between.
pub(crate) fn paths(spring_prefix: bool) -> impl Iterator<Item = String> {
    let entries = keys().iter().filter(move |entry| entry.spring || !spring_prefix);
    entries.map(|entry| entry.path.trim_end_matches(".**").to_owned())
}
