//! From texts to typed settings. Every value that is read is noted with where it came from (for `explain`), and every
//! mistake is noted and read as the default, so that all of them are found in one go.
//!
//! ```text
//! a setting of a listener's consumer, the strongest first:
//! kafka-runtime.listeners.<id>.properties.<kafka name>   kafka-runtime.listeners.<id>.<key>
//! the attribute's own argument                           the attribute's properties
//! consumer.properties.<kafka name>                       consumer.<key>
//! properties.<kafka name>                                <key>
//! (each of the last two lines under kafka-runtime first, then under spring.kafka)
//! ```

mod client;
mod commit;
mod consumer;
mod controls;
mod errors;
mod forward;
mod listener;
mod order;
mod place;
mod producer;
mod recovery;
mod rules;
mod subscription;
mod topics;
mod transactional;

use std::time::Duration;

pub(crate) use client::client;
pub(crate) use listener::{every_listener, listener};
pub(crate) use place::Declared;
use place::{Client, Place, of_listener};
pub(crate) use producer::{admin, template};
pub(crate) use rules::across;
pub(crate) use topics::topics;

use super::Partitioners;
use super::explain::{Row, Section};
use super::names;
use super::origin::Origin;
use super::placeholder;
use super::problems::{Problem, Problems};
use super::schema;
use super::secrets;
use super::source::Sources;
use super::suggest;
use super::value::{Notation, Size, Value, split_list};

/// A text that was said, placeholders resolved.
#[derive(Debug, Clone)]
pub(crate) struct Said {
    pub text: String,
    /// The whole key, or the attribute's argument.
    pub key: String,
    pub origin: Origin,
    pub notation: Notation,
    secret: bool,
    through: Vec<(String, Origin)>,
    /// It cannot be resolved, which is noted.
    broken: bool,
}

impl Said {
    /// The text as it may be shown.
    fn shown(&self) -> String {
        if self.secret { secrets::MASK.to_owned() } else { secrets::shown(&self.key, &self.text) }
    }

    fn problem(&self, what: impl AsRef<str>) -> Problem {
        Problem::new(self.origin.clone(), &self.key, format!("= `{}` {}", self.shown(), what.as_ref()))
    }
}

/// Reads settings; collects what was read and what is wrong.
pub(crate) struct Binding<'s> {
    pub sources: &'s Sources,
    pub problems: Problems,
    pub sections: Vec<Section>,
    /// The settings of this section that are said, but wrongly: no rule is to be derived from them.
    broken: Vec<String>,
    /// Partitioners that the application has itself.
    partitioners: &'s Partitioners,
}

impl<'s> Binding<'s> {
    pub(crate) fn new(sources: &'s Sources, partitioners: &'s Partitioners) -> Self {
        let (problems, sections, broken) = (Problems::default(), Vec::new(), Vec::new());
        Self { sources, problems, sections, broken, partitioners }
    }

    /// What is read from here on belongs to `title`.
    pub(crate) fn section(&mut self, title: impl Into<String>) {
        self.sections.push(Section { title: title.into(), rows: Vec::new() });
        self.broken.clear();
    }

    /// Notes a value in force.
    fn note(&mut self, name: &str, value: String, origin: Origin, through: Vec<(String, Origin)>) {
        if let Some(section) = self.sections.last_mut() {
            section.rows.push(Row { name: name.to_owned(), value, origin, through });
        }
    }

    fn row(&self, name: &str) -> Option<&Row> {
        self.sections.last()?.rows.iter().rev().find(|row| row.name == name)
    }

    /// Where the value of `name` in this section came from.
    fn origin_of(&self, name: &str) -> Origin {
        self.row(name).map_or(Origin::Default, |row| row.origin.clone())
    }

    /// The value of `name` in this section, as it is shown.
    fn noted(&self, name: &str) -> Option<&str> {
        self.row(name).map(|row| row.value.as_str())
    }

    /// Whether one of these settings of this section is wrong, so that nothing follows from it.
    fn is_broken(&self, names: &[&str]) -> bool {
        self.broken.iter().any(|broken| names.contains(&broken.as_str()))
    }

    /// What is said at `place`; nothing where it is blank.
    fn say(&mut self, place: &Place) -> Option<Said> {
        match place {
            Place::Key { path, spring, notation } => {
                let prefixes: &[&str] =
                    if *spring { &[schema::OURS, schema::SPRING] } else { &[schema::OURS] };
                prefixes.iter().find_map(|prefix| {
                    let key = names::join(prefix, path);
                    let found = self.sources.find(&key)?;
                    self.resolved(&found.text, key, found.origin, *notation)
                })
            }
            Place::Attribute { location, argument, text, notation } => {
                let origin = Origin::Attribute { location: *location, argument: argument.as_ref().into() };
                self.resolved(text, argument.to_string(), origin, *notation)
            }
        }
    }

    fn resolved(&mut self, text: &str, key: String, origin: Origin, notation: Notation) -> Option<Said> {
        match placeholder::resolve(text, self.sources) {
            Ok(resolved) if resolved.text.trim().is_empty() => None,
            Ok(resolved) => {
                let secret = resolved.secret || secrets::is_secret(&key);
                let through = resolved.through;
                Some(Said { text: resolved.text, key, origin, notation, secret, through, broken: false })
            }
            Err(unresolved) => {
                self.problems.error(Problem::new(origin.clone(), key.as_str(), unresolved.what()));
                let (text, through) = (String::new(), Vec::new());
                Some(Said { text, key, origin, notation, secret: false, through, broken: true })
            }
        }
    }

    /// What the strongest of `places` says.
    fn first(&mut self, places: &[Place]) -> Option<Said> {
        places.iter().find_map(|place| self.say(place))
    }

    /// What the strongest of `places` says of the list, from one place whole.
    fn first_list(&mut self, places: &[Place]) -> Option<(Vec<String>, Said)> {
        places.iter().find_map(|place| match place {
            Place::Key { path, spring, .. } => {
                let prefixes: &[&str] =
                    if *spring { &[schema::OURS, schema::SPRING] } else { &[schema::OURS] };
                prefixes.iter().find_map(|prefix| self.list_at(&names::join(prefix, path)))
            }
            Place::Attribute { .. } => self.say(place).map(|said| (split_list(&said.text), said)),
        })
    }

    fn list_at(&mut self, key: &str) -> Option<(Vec<String>, Said)> {
        let found = self.sources.list(key)?;
        let mut said: Option<Said> = None;
        let mut elements = Vec::new();
        for element in found {
            let Some(next) = self.resolved(&element.text, key.to_owned(), element.origin, Notation::Spring)
            else {
                continue;
            };
            elements.extend(split_list(&next.text));
            match &mut said {
                None => said = Some(next),
                Some(said) => {
                    said.text.push(',');
                    said.text.push_str(&next.text);
                    said.through.extend(next.through);
                    said.secret |= next.secret;
                    said.broken |= next.broken;
                }
            }
        }
        said.map(|said| (elements, said))
    }

    /// Reads a setting with `read`, notes it under `name`.
    fn parse<T>(
        &mut self,
        name: &str,
        places: &[Place],
        default: T,
        read: impl Fn(&str, Notation) -> Result<T, String>,
        show: impl Fn(&T) -> String,
    ) -> T {
        let Some(said) = self.first(places) else {
            self.note(name, show(&default), Origin::Default, Vec::new());
            return default;
        };
        if said.broken {
            self.broken.push(name.to_owned());
            return default;
        }
        match read(&said.text, said.notation) {
            Ok(value) => {
                let secret = said.secret || secrets::is_secret(name);
                let shown =
                    if secret { secrets::MASK.to_owned() } else { secrets::without_user_info(&show(&value)) };
                self.note(name, shown, said.origin, said.through);
                value
            }
            Err(what) => {
                self.problems.error(said.problem(what));
                self.broken.push(name.to_owned());
                default
            }
        }
    }

    /// Reads a setting.
    fn read<T: Value>(&mut self, name: &str, places: &[Place], default: T) -> T {
        self.parse(name, places, default, T::read, T::show)
    }

    /// Reads a number of at least 1.
    fn at_least_one<T: Value + PartialOrd + From<u8>>(
        &mut self,
        name: &str,
        places: &[Place],
        default: T,
    ) -> T {
        let read = |text: &str, notation| match T::read(text, notation) {
            Ok(number) if number < T::from(1) => Err("must be at least 1".to_owned()),
            other => other,
        };
        self.parse(name, places, default, read, T::show)
    }

    /// Reads a setting that need not be.
    fn optional<T: Value>(&mut self, name: &str, places: &[Place]) -> Option<T> {
        let show = |value: &Option<T>| value.as_ref().map_or_else(|| "none".to_owned(), T::show);
        self.parse(name, places, None, |text, notation| T::read(text, notation).map(Some), show)
    }

    /// Reads a text that need not be.
    fn text(&mut self, name: &str, places: &[Place]) -> Option<String> {
        self.optional(name, places)
    }

    /// Reads a duration that goes over the wire, or that Kafka keeps in 32 bits of milliseconds.
    fn time(&mut self, name: &str, places: &[Place], default: Duration) -> Duration {
        let read = |text: &str, notation| match Duration::read(text, notation) {
            Ok(time) if i32::try_from(time.as_millis()).is_err() => {
                Err("is too long: 24 days at most".to_owned())
            }
            other => other,
        };
        self.parse(name, places, default, read, Duration::show)
    }

    /// Reads a number of bytes that fits into 32 bits.
    fn bytes(&mut self, name: &str, places: &[Place], default: i32) -> i32 {
        let read = |text: &str, notation| {
            let size = Size::read(text, notation)?;
            i32::try_from(size.0).map_err(|_| "is too large: 2147483647 bytes at most".to_owned())
        };
        self.parse(name, places, default, read, |bytes| Size(u64::try_from(*bytes).unwrap_or(0)).show())
    }

    /// Reads one of some words, each with what it means.
    fn word<T: Copy + PartialEq>(
        &mut self,
        name: &str,
        places: &[Place],
        default: T,
        words: &[(&'static str, T)],
    ) -> T {
        let names: Vec<&'static str> = words.iter().map(|(word, _)| *word).collect();
        let meaning = |word: &str| words.iter().find(|(known, _)| *known == word).map(|(_, value)| *value);
        let read = |text: &str, notation| {
            let word = super::value::word(text, notation, &names)?;
            meaning(word).ok_or_else(String::new)
        };
        let show = |value: &T| {
            let word = words.iter().find(|(_, known)| known == value).map(|(word, _)| *word);
            word.unwrap_or("none").to_owned()
        };
        self.parse(name, places, default, read, show)
    }
}

/// `spring.application.name`, which default client ids begin with.
fn application_name(binding: &mut Binding<'_>) -> Option<String> {
    let key = "spring.application.name";
    let found = binding.sources.find(key)?;
    let said = binding.resolved(&found.text, key.to_owned(), found.origin, Notation::Spring)?;
    (!said.broken).then_some(said.text)
}

/// `text`, with the nearest of the known values.
fn unknown(known: &[&str], text: &str) -> String {
    match suggest::nearest(text, known.iter().map(|&word| word.to_owned())) {
        Some(nearest) => format!("is not known; did you mean `{nearest}`?"),
        None => format!("is none of {}", known.join(", ")),
    }
}
