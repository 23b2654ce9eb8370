//! What becomes of records that fail: `retry(..)`, `dead_letter`.

use syn::{Lit, Type};

use super::{Kind, TopicIs, all, literal, single, usage};
use crate::attr::{Argument, Name, Setting, Value};
use crate::text::{self, Check};

/// `retry(attempts = 5, backoff = "100ms..10s", only = [Type], never = [Type])`
#[derive(Default)]
pub(crate) struct RetrySettings {
    pub(crate) attempts: Option<String>,
    pub(crate) backoff: Option<String>,
    pub(crate) multiplier: Option<String>,
    pub(crate) jitter: Option<String>,
    pub(crate) max_elapsed: Option<String>,
    pub(crate) only: Vec<Type>,
    pub(crate) never: Vec<Type>,
}

/// `dead_letter = "orders-dlt"` or `dead_letter(topic = "orders-dlt", partitions = 3)`; the topic may be a path.
#[derive(Default)]
pub(crate) struct DeadLetterSettings {
    pub(crate) topic: Option<TopicIs>,
    pub(crate) create: Option<String>,
    pub(crate) partitions: Option<String>,
    pub(crate) replication: Option<String>,
    pub(crate) retention: Option<String>,
}

/// `retry_topics` or `retry_topics(attempts = 4, backoff = "1s..1m", multiplier = 2)`
#[derive(Default)]
pub(crate) struct RetryTopicsSettings {
    pub(crate) attempts: Option<String>,
    pub(crate) backoff: Option<String>,
    pub(crate) multiplier: Option<String>,
    pub(crate) names: Option<String>,
}

/// A named argument that is a text: its name, what its literal may be, where it goes.
type Field<'a> = (&'static str, Kind, Check, &'a mut Option<String>);

/// Puts the argument where its name says.
fn set(name: &Name, value: &Lit, fields: Vec<Field<'_>>) -> syn::Result<()> {
    let names: Vec<&str> = fields.iter().map(|(name, ..)| *name).collect();
    let Some((_, kind, check, place)) = fields.into_iter().find(|(field, ..)| *field == name.text) else {
        let near = crate::nearest::nearest(&name.text, &names);
        let cure = near.map_or_else(
            || {
                format!(
                    "there are {}",
                    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
                )
            },
            |near| format!("did you mean `{near}`?"),
        );
        return Err(syn::Error::new(name.span, format!("unknown argument `{}`; {cure}", name.text)));
    };
    match place.replace(literal(value, kind, check)?) {
        None => Ok(()),
        Some(_) => Err(twice(name)),
    }
}

pub(super) fn retry(setting: &Setting) -> syn::Result<RetrySettings> {
    let Value::Arguments(arguments, _) = &setting.value else { return Err(usage(setting)) };
    if arguments.is_empty() {
        return Err(usage(setting));
    }
    let mut retry = RetrySettings::default();
    all(arguments.iter().map(|argument| match argument {
        Argument::Types(name, types, span) => {
            let place = match name.text.as_str() {
                "only" => &mut retry.only,
                "never" => &mut retry.never,
                _ => {
                    return Err(syn::Error::new(
                        name.span,
                        "types of errors stand in `only = [..]` or `never = [..]`",
                    ));
                }
            };
            match (types.is_empty(), place.is_empty()) {
                (true, _) => Err(syn::Error::new(*span, "name at least one type of error")),
                (false, false) => Err(twice(name)),
                (false, true) => {
                    place.clone_from(types);
                    Ok(())
                }
            }
        }
        Argument::Named(name, _) if matches!(name.text.as_str(), "only" | "never") => {
            Err(syn::Error::new(argument.span(), format!("write types: `{} = [BankError]`", name.text)))
        }
        Argument::Named(name, value) => set(
            name,
            value,
            vec![
                ("attempts", Kind::Number, text::count as Check, &mut retry.attempts),
                ("backoff", Kind::Number, text::backoff, &mut retry.backoff),
                ("multiplier", Kind::Decimal, text::at_least_one, &mut retry.multiplier),
                ("jitter", Kind::Decimal, text::part, &mut retry.jitter),
                ("max_elapsed", Kind::Number, text::duration, &mut retry.max_elapsed),
            ],
        ),
        _ => Err(usage(setting)),
    }))?;
    Ok(retry)
}

pub(super) fn retry_topics(setting: &Setting) -> syn::Result<RetryTopicsSettings> {
    let mut topics = RetryTopicsSettings::default();
    let arguments = match &setting.value {
        Value::None => return Ok(topics),
        Value::Arguments(arguments, _) if !arguments.is_empty() => arguments,
        _ => return Err(usage(setting)),
    };
    all(arguments.iter().map(|argument| match argument {
        Argument::Named(name, value) => set(
            name,
            value,
            vec![
                ("attempts", Kind::Number, text::count as Check, &mut topics.attempts),
                ("backoff", Kind::Number, text::backoff, &mut topics.backoff),
                ("multiplier", Kind::Decimal, text::at_least_one, &mut topics.multiplier),
                ("names", Kind::Text, text::retry_names, &mut topics.names),
            ],
        ),
        _ => Err(usage(setting)),
    }))?;
    Ok(topics)
}

pub(super) fn dead_letter(setting: &Setting) -> syn::Result<DeadLetterSettings> {
    let mut letter = DeadLetterSettings::default();
    let arguments = match &setting.value {
        Value::Arguments(arguments, _) if !arguments.is_empty() => arguments,
        Value::Literal(_) => {
            letter.topic = Some(TopicIs::Text(single(setting, Kind::Text, text::topic_template)?));
            return Ok(letter);
        }
        Value::Path(path) => {
            letter.topic = Some(TopicIs::Typed(path.clone()));
            return Ok(letter);
        }
        _ => return Err(usage(setting)),
    };
    let mut named = None;
    all(arguments.iter().map(|argument| match argument {
        Argument::Named(name, value) => set(
            name,
            value,
            vec![
                ("topic", Kind::Text, text::topic_template as Check, &mut named),
                ("create", Kind::Boolean, text::boolean, &mut letter.create),
                ("partitions", Kind::Number, text::count, &mut letter.partitions),
                ("replication", Kind::Number, text::count, &mut letter.replication),
                ("retention", Kind::Number, text::duration, &mut letter.retention),
            ],
        ),
        Argument::Path(name, path) => match letter.topic.replace(TopicIs::Typed(path.clone())) {
            None => Ok(()),
            Some(_) => Err(twice(name)),
        },
        _ => Err(usage(setting)),
    }))?;
    letter.topic = match (named.map(TopicIs::Text), letter.topic) {
        (Some(_), Some(_)) => return Err(syn::Error::new(setting.span(), "`topic` is given twice")),
        (text, typed) => text.or(typed),
    };
    Ok(letter)
}

fn twice(name: &Name) -> syn::Error {
    syn::Error::new(name.span, format!("`{}` is given twice", name.text))
}
