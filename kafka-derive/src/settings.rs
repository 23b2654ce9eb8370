//! The attribute's settings, typed and checked: the texts that they are registered as.

mod controls;
mod recovery;

use proc_macro2::Span;
use syn::ext::IdentExt as _;
use syn::{Lit, LitStr, Path};

pub(crate) use self::controls::ControlSettings;
pub(crate) use self::recovery::{DeadLetterSettings, RetrySettings, RetryTopicsSettings};
use crate::attr::{Argument, Element, Setting, Value};
use crate::nearest::nearest;
use crate::text::{self, Check};

/// What there is, each with how it is written.
const KNOWN: &[(&str, &str)] = &[
    ("topic", "topic = \"orders\""),
    ("topics", "topics = [\"orders\", \"returns\"]"),
    ("pattern", "pattern = \"orders-.*\""),
    ("partitions", "partitions(\"orders\", \"0-3\", from = \"earliest\")"),
    ("group", "group = \"billing\""),
    ("id", "id = \"billing\""),
    ("ordering", "ordering = \"key\""),
    ("concurrency", "concurrency = 4"),
    ("prefetch", "prefetch = \"16MB\""),
    ("members", "members = 2"),
    ("transactional", "transactional"),
    ("commit", "commit = \"combined\""),
    ("commit_every", "commit_every = \"batch\"` or `commit_every(records = 500, time = \"2s\")"),
    ("commit_remember", "commit_remember = false"),
    ("ack", "ack = \"manual\""),
    ("retry", "retry(attempts = 5, backoff = \"100ms..10s\")"),
    ("on_exhausted", "on_exhausted = \"dead-letter\""),
    ("dead_letter", "dead_letter = \"orders-dlt\"` or `dead_letter(topic = \"orders-dlt\", partitions = 3)"),
    ("retry_topics", "retry_topics` or `retry_topics(attempts = 4, backoff = \"1s..1m\", multiplier = 2)"),
    ("send_to", "send_to = \"enriched\""),
    ("reply", "reply"),
    ("handler_timeout", "handler_timeout = \"30s\""),
    ("filter", "filter = is_relevant"),
    ("batch", "batch"),
    ("auto_startup", "auto_startup = false"),
    ("client_id", "client_id = \"billing\""),
    ("rate_limit", "rate_limit = \"100/s\""),
    ("circuit_breaker", "circuit_breaker(failures = 5, pause = \"10s\")"),
    ("pause_when", "pause_when = \"bank\"` or `pause_when(check = \"bank\", interval = \"5s\")"),
    ("drain_timeout", "drain_timeout = \"10s\""),
    ("on_revoke", "on_revoke = \"finish\""),
    ("idle_event_interval", "idle_event_interval = \"1m\""),
    ("idle_partition_event_interval", "idle_partition_event_interval = \"1m\""),
    ("properties", "properties(\"max.poll.records\" = \"10\")"),
    ("crate", "crate = \"::kafka_runtime\""),
];
/// What it is called by `@KafkaListener` and by other clients, in small letters.
const ELSEWHERE: [(&str, &str); 12] = [
    ("retryabletopic", "retry_topics"),
    ("errorhandler", "on_exhausted"),
    ("dlt", "dead_letter"),
    ("groupid", "group"),
    ("group_id", "group"),
    ("topicpattern", "pattern"),
    ("topic_pattern", "pattern"),
    ("topicpartitions", "partitions"),
    ("topic_partitions", "partitions"),
    ("ackmode", "ack"),
    ("ack_mode", "ack"),
    ("clientidprefix", "client_id"),
];
/// A listener has at most one of these.
const SOURCES: [&str; 4] = ["topic", "topics", "pattern", "partitions"];

/// The settings that are right.
#[derive(Default)]
pub(crate) struct Settings {
    pub(crate) id: Option<String>,
    pub(crate) topics: Vec<TopicIs>,
    pub(crate) pattern: Option<String>,
    pub(crate) partitions: Vec<Partitions>,
    pub(crate) group: Option<String>,
    pub(crate) ordering: Option<(String, Span)>,
    pub(crate) concurrency: Option<String>,
    pub(crate) prefetch: Option<String>,
    pub(crate) members: Option<String>,
    pub(crate) transactional: Option<(String, Span)>,
    pub(crate) commit: Option<(String, Span)>,
    pub(crate) commit_every: Option<(CommitEvery, Span)>,
    pub(crate) commit_remember: Option<String>,
    pub(crate) ack: Option<(String, Span)>,
    pub(crate) retry: RetrySettings,
    pub(crate) on_exhausted: Option<String>,
    pub(crate) dead_letter: DeadLetterSettings,
    pub(crate) retry_topics: Option<RetryTopicsSettings>,
    pub(crate) send_to: Option<(TopicIs, Span)>,
    pub(crate) reply: Option<Span>,
    pub(crate) handler_timeout: Option<String>,
    pub(crate) filter: Option<Path>,
    pub(crate) auto_startup: Option<String>,
    pub(crate) client_id: Option<String>,
    pub(crate) controls: ControlSettings,
    pub(crate) properties: Vec<(String, String)>,
    pub(crate) batch: bool,
    pub(crate) runtime: Option<Path>,
}

/// How a topic is named: by a text, or by the path of a `Topic<T>`.
pub(crate) enum TopicIs {
    Text(String),
    Typed(Path),
}

/// `partitions("orders", "0-3", from = "earliest")`
pub(crate) struct Partitions {
    pub(crate) topic: String,
    pub(crate) partitions: String,
    pub(crate) from: Option<String>,
}

/// `commit_every = ".."` or `commit_every(records = .., time = ..)`
#[derive(Default)]
pub(crate) struct CommitEvery {
    pub(crate) each: Option<String>,
    pub(crate) records: Option<String>,
    pub(crate) time: Option<String>,
}

/// What a literal may be, besides a string.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    Number,
    /// A number with or without a fraction.
    Decimal,
    Boolean,
}

impl Settings {
    /// Reads `settings`; what is wrong with them is noted, all of it.
    pub(crate) fn read(settings: &[Setting], mistakes: &mut Vec<syn::Error>) -> Self {
        let mut read = Self::default();
        let mut seen: Vec<String> = Vec::new();
        for setting in settings {
            let name = setting.name.unraw().to_string();
            match conflict(&name, &seen) {
                Some(conflict) => mistakes.push(syn::Error::new(setting.name.span(), conflict)),
                None => mistakes.extend(read.set(&name, setting).err()),
            }
            seen.push(name);
        }
        read
    }

    /// The topics whose type the payload has: those that are read, and the one that takes what could not be handled.
    pub(crate) fn typed_topics(&self) -> impl Iterator<Item = &Path> {
        self.topics.iter().chain(&self.dead_letter.topic).filter_map(|topic| match topic {
            TopicIs::Typed(path) => Some(path),
            TopicIs::Text(_) => None,
        })
    }

    /// Whether what the function returns goes on.
    pub(crate) fn sends_on(&self) -> bool {
        self.sends_on_at().is_some()
    }

    /// Where that is said.
    pub(crate) fn sends_on_at(&self) -> Option<Span> {
        self.send_to.as_ref().map(|(_, span)| *span).or(self.reply)
    }

    fn set(&mut self, name: &str, setting: &Setting) -> syn::Result<()> {
        if let Some(read) = self.controls.set(name, setting) {
            return read;
        }
        match name {
            "topic" => self.topics.push(topic(setting)?),
            "topics" => self.topics = topics(setting)?,
            "pattern" => self.pattern = Some(single(setting, Kind::Text, text::not_empty)?),
            "partitions" => self.partitions.extend(partitions(setting)?),
            "group" => self.group = Some(single(setting, Kind::Text, text::not_empty)?),
            "id" => self.id = Some(id(setting)?),
            "ordering" => {
                self.ordering = Some((single(setting, Kind::Text, text::ordering)?, setting.span()))
            }
            "concurrency" => self.concurrency = Some(single(setting, Kind::Number, text::count)?),
            "prefetch" => self.prefetch = Some(single(setting, Kind::Number, text::not_empty)?),
            "members" => self.members = Some(single(setting, Kind::Number, text::count)?),
            "transactional" => self.transactional = Some((flag(setting)?, setting.span())),
            "commit" => self.commit = Some((single(setting, Kind::Text, text::commit)?, setting.span())),
            "commit_every" => self.commit_every = Some((commit_every(setting)?, setting.span())),
            "commit_remember" => self.commit_remember = Some(single(setting, Kind::Boolean, text::boolean)?),
            "ack" => self.ack = Some((single(setting, Kind::Text, text::ack)?, setting.span())),
            "retry" => self.retry = recovery::retry(setting)?,
            "on_exhausted" => self.on_exhausted = Some(single(setting, Kind::Text, text::exhausted)?),
            "dead_letter" => self.dead_letter = recovery::dead_letter(setting)?,
            "retry_topics" => self.retry_topics = Some(recovery::retry_topics(setting)?),
            "send_to" => self.send_to = Some((topic(setting)?, setting.span())),
            "reply" => self.reply = reply(setting)?.then(|| setting.span()),
            "handler_timeout" => self.handler_timeout = Some(single(setting, Kind::Number, text::duration)?),
            "filter" => self.filter = Some(function(setting)?),
            "batch" => self.batch = batch(setting)?,
            "auto_startup" => self.auto_startup = Some(single(setting, Kind::Boolean, text::boolean)?),
            "client_id" => self.client_id = Some(single(setting, Kind::Text, text::not_empty)?),
            "properties" => self.properties = properties(setting)?,
            "crate" => self.runtime = Some(path(setting)?),
            _ => return Err(syn::Error::new(setting.name.span(), unknown(name))),
        }
        Ok(())
    }
}

/// Why `name` cannot stand beside those before it.
fn conflict(name: &str, before: &[String]) -> Option<String> {
    if name != "partitions" && before.iter().any(|other| other == name) {
        return Some(format!("`{name}` is given twice"));
    }
    let is_source = |name: &str| SOURCES.contains(&name);
    let other = before.iter().find(|other| is_source(other) && *other != name);
    let other = other.filter(|_| is_source(name))?;
    Some(format!(
        "`{name}` and `{other}` exclude each other: a listener reads from one of `topic`, `topics`, `pattern`, `partitions`"
    ))
}

fn unknown(name: &str) -> String {
    let lower = name.to_lowercase();
    let elsewhere = ELSEWHERE.iter().find(|(other, _)| *other == lower).map(|(_, ours)| *ours);
    let names: Vec<&str> = KNOWN.iter().map(|(name, _)| *name).collect();
    match elsewhere.or_else(|| nearest(name, &names)) {
        Some(near) => format!("unknown setting `{name}`, did you mean `{near}`?"),
        None => format!(
            "unknown setting `{name}`; there are {}",
            names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
        ),
    }
}

fn usage(setting: &Setting) -> syn::Error {
    let name = setting.name.unraw().to_string();
    let usage = KNOWN.iter().find(|(known, _)| *known == name).map_or("", |(_, usage)| usage);
    syn::Error::new(setting.span(), format!("write `{usage}`"))
}

/// `name = literal`
fn single(setting: &Setting, kind: Kind, check: Check) -> syn::Result<String> {
    match &setting.value {
        Value::Literal(value) => literal(value, kind, check),
        _ => Err(usage(setting)),
    }
}

fn literal(literal: &Lit, kind: Kind, check: Check) -> syn::Result<String> {
    let text = match (kind, literal) {
        (_, Lit::Str(text)) => text.value(),
        (Kind::Number, Lit::Int(number)) if number.suffix().is_empty() => number.base10_digits().to_owned(),
        (Kind::Decimal, Lit::Int(number)) if number.suffix().is_empty() => number.base10_digits().to_owned(),
        (Kind::Decimal, Lit::Float(number)) if number.suffix().is_empty() => {
            number.base10_digits().to_owned()
        }
        (Kind::Boolean, Lit::Bool(value)) => value.value.to_string(),
        _ => {
            let expected = match kind {
                Kind::Text => "expected a string",
                Kind::Number | Kind::Decimal => {
                    "expected a number, or a string with a placeholder: `\"${key:4}\"`"
                }
                Kind::Boolean => {
                    "expected `true`, `false`, or a string with a placeholder: `\"${key:true}\"`"
                }
            };
            return Err(syn::Error::new(literal.span(), expected));
        }
    };
    match text::validate(&text, check) {
        Ok(()) => Ok(text),
        Err(wrong) => Err(syn::Error::new(literal.span(), wrong)),
    }
}

/// All of them, or all that is wrong with them.
fn all<T>(results: impl Iterator<Item = syn::Result<T>>) -> syn::Result<Vec<T>> {
    let mut good = Vec::new();
    let mut wrong: Option<syn::Error> = None;
    for result in results {
        match (result, &mut wrong) {
            (Ok(value), _) => good.push(value),
            (Err(error), Some(wrong)) => wrong.combine(error),
            (Err(error), None) => wrong = Some(error),
        }
    }
    wrong.map_or(Ok(good), Err)
}

/// `name = "orders"` or `name = ORDERS`
fn topic(setting: &Setting) -> syn::Result<TopicIs> {
    match &setting.value {
        Value::Path(path) => Ok(TopicIs::Typed(path.clone())),
        _ => single(setting, Kind::Text, text::topic).map(TopicIs::Text),
    }
}

fn topics(setting: &Setting) -> syn::Result<Vec<TopicIs>> {
    match &setting.value {
        Value::List(list, _) if !list.is_empty() => all(list.iter().map(|topic| match topic {
            Element::Literal(name) => literal(name, Kind::Text, text::topic).map(TopicIs::Text),
            Element::Path(path) => Ok(TopicIs::Typed(path.clone())),
        })),
        _ => Err(usage(setting)),
    }
}

/// One `("topic", "0-3", from = "..")`, or several in parentheses of their own.
fn partitions(setting: &Setting) -> syn::Result<Vec<Partitions>> {
    let Value::Arguments(arguments, _) = &setting.value else { return Err(usage(setting)) };
    if !matches!(arguments.first(), Some(Argument::Nested(..))) {
        return Ok(vec![partitions_of_topic(setting, arguments)?]);
    }
    all(arguments.iter().map(|argument| match argument {
        Argument::Nested(arguments, _) => partitions_of_topic(setting, arguments),
        _ => Err(usage(setting)),
    }))
}

fn partitions_of_topic(setting: &Setting, arguments: &[Argument]) -> syn::Result<Partitions> {
    let [Argument::Positional(topic), Argument::Positional(partitions), rest @ ..] = arguments else {
        return Err(usage(setting));
    };
    let from = match rest {
        [] => None,
        [Argument::Named(name, from)] if name.text == "from" => Some(from),
        [other, ..] => {
            return Err(syn::Error::new(other.span(), "expected `from = \"..\"` and nothing after it"));
        }
    };
    let texts =
        [(Some(topic), text::topic as Check), (Some(partitions), text::partitions), (from, text::start)];
    let mut texts = all(texts
        .into_iter()
        .filter_map(|(value, check)| value.map(|value| literal(value, Kind::Number, check))))?
    .into_iter();
    Ok(Partitions {
        topic: texts.next().unwrap_or_default(),
        partitions: texts.next().unwrap_or_default(),
        from: texts.next(),
    })
}

fn commit_every(setting: &Setting) -> syn::Result<CommitEvery> {
    let arguments = match &setting.value {
        Value::Literal(each) => {
            let each = Some(literal(each, Kind::Text, text::cadence)?);
            return Ok(CommitEvery { each, ..CommitEvery::default() });
        }
        Value::Arguments(arguments, _) if !arguments.is_empty() => arguments,
        _ => return Err(usage(setting)),
    };
    let mut every = CommitEvery::default();
    all(arguments.iter().map(|argument| {
        let Argument::Named(name, value) = argument else { return Err(usage(setting)) };
        let (place, text) = match name.text.as_str() {
            "records" => (&mut every.records, literal(value, Kind::Number, text::count)?),
            "time" => (&mut every.time, literal(value, Kind::Number, text::duration)?),
            _ => {
                return Err(syn::Error::new(name.span, "expected `records = 500`, `time = \"2s\"`, or both"));
            }
        };
        match place.replace(text) {
            None => Ok(()),
            Some(_) => Err(syn::Error::new(name.span, format!("`{}` is given twice", name.text))),
        }
    }))?;
    Ok(every)
}

/// Checked as it stands: it is not resolved.
fn id(setting: &Setting) -> syn::Result<String> {
    match &setting.value {
        Value::Literal(Lit::Str(id)) => {
            text::id(&id.value()).map(|()| id.value()).map_err(|wrong| syn::Error::new(id.span(), wrong))
        }
        _ => Err(usage(setting)),
    }
}

/// The path of a function: no text, so that the compiler checks it.
fn function(setting: &Setting) -> syn::Result<Path> {
    match &setting.value {
        Value::Path(path) => Ok(path.clone()),
        _ => Err(usage(setting)),
    }
}

/// `reply`, or `reply = true`: known when the code is generated, so no placeholder.
fn reply(setting: &Setting) -> syn::Result<bool> {
    match &setting.value {
        Value::None => Ok(true),
        Value::Literal(Lit::Bool(value)) => Ok(value.value),
        _ => Err(syn::Error::new(
            setting.span(),
            "write `reply`: the answer goes to the topic that the record names in `kafka_replyTopic`; a topic for records \
             that name none stands in `send_to`",
        )),
    }
}

/// The name alone, or `name = true`.
fn flag(setting: &Setting) -> syn::Result<String> {
    match &setting.value {
        Value::None => Ok("true".to_owned()),
        _ => single(setting, Kind::Boolean, text::boolean),
    }
}

/// `batch`, or `batch = true`: known when the code is generated, so no placeholder.
fn batch(setting: &Setting) -> syn::Result<bool> {
    match &setting.value {
        Value::None => Ok(true),
        Value::Literal(Lit::Bool(value)) => Ok(value.value),
        _ => Err(syn::Error::new(
            setting.span(),
            "write `batch`: the types of the arguments depend on it, so it cannot come from the configuration",
        )),
    }
}

fn properties(setting: &Setting) -> syn::Result<Vec<(String, String)>> {
    let Value::Arguments(arguments, _) = &setting.value else { return Err(usage(setting)) };
    let mut seen: Vec<&str> = Vec::new();
    all(arguments.iter().map(|argument| {
        let Argument::Named(name, value) = argument else { return Err(usage(setting)) };
        let wrong = |what: String| syn::Error::new(name.span, what);
        if !name.quoted {
            return Err(wrong(
                "a property has Kafka's name, in quotes: `\"max.poll.records\" = \"10\"`".into(),
            ));
        }
        if seen.contains(&name.text.as_str()) {
            return Err(wrong(format!("`{}` is given twice", name.text)));
        }
        seen.push(&name.text);
        text::validate(&name.text, text::not_empty).map_err(wrong)?;
        let kind = if matches!(value, Lit::Bool(_)) { Kind::Boolean } else { Kind::Number };
        Ok((name.text.clone(), literal(value, kind, |_| Ok(()))?))
    }))
}

fn path(setting: &Setting) -> syn::Result<Path> {
    let path = match &setting.value {
        Value::Literal(Lit::Str(path)) => LitStr::parse::<Path>(path).ok(),
        _ => None,
    };
    path.ok_or_else(|| usage(setting))
}
