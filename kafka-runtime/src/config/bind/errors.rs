//! Which errors are tried again, and names that can never be found in what a handler returns.

use super::super::names;
use super::super::origin::Origin;
use super::super::problems::Problem;
use super::super::schema::OURS;
use super::super::settings::RetryErrors;
use super::listener::layered;
use super::{Binding, Declared, Said, of_listener};
use crate::listener::hiding;

pub(super) fn errors(binding: &mut Binding<'_>, listener: &Declared) -> RetryErrors {
    let said = listener.attributes.retry;
    RetryErrors {
        only: list(binding, listener, ("only", "retry.only"), said.only),
        never: list(binding, listener, ("never", "retry.never"), said.never),
        attribute_only: !said.only.is_empty(),
    }
}

/// What the file says; `None`: the types of the attribute hold.
fn list(
    binding: &mut Binding<'_>,
    listener: &Declared,
    (argument, name): (&str, &'static str),
    of_attribute: &[&str],
) -> Option<Vec<String>> {
    let Some((names, said)) = binding.first_list(&layered(listener, name, None)) else {
        let retry = Origin::Attribute { location: listener.location, argument: "retry".into() };
        let origin = if of_attribute.is_empty() { Origin::Default } else { retry };
        binding.note(name, of_attribute.join(", "), origin, Vec::new());
        return None;
    };
    if let Some(returned) = listener.error_type.and_then(hiding) {
        hidden(binding, listener, argument, (&names, &said), returned);
    }
    binding.note(name, names.join(", "), said.origin, said.through);
    Some(names)
}

/// The handler returns errors that have no names at run time: a name of several parts is found in them only by a type that the
/// attribute names, and one word only if `Debug` begins with it. What is said for all listeners may be meant for others.
fn hidden(
    binding: &mut Binding<'_>,
    listener: &Declared,
    argument: &str,
    (names, said): (&[String], &Said),
    returned: &str,
) {
    let typed = listener.attributes.retry.only.iter().chain(listener.attributes.retry.never);
    let typed: Vec<&str> = typed.map(|path| last_part(path)).collect();
    let whole = listener.error_type.and_then(|name| name.split('<').next()).unwrap_or_default();
    // `never: [anyhow::Error]` means every error of the handler.
    let is_whole =
        |name: &str| whole.strip_suffix(name).is_some_and(|path| path.is_empty() || path.ends_with("::"));
    let is_typed = |name: &str| name.split("::").any(|part| typed.contains(&part.trim()));
    let unknown = names.iter().filter(|name| !is_whole(name) && !is_typed(name));
    let (paths, words): (Vec<&String>, Vec<_>) = unknown.partition(|name| name.contains("::"));
    let words = words.into_iter().filter(|name| !matches!(name.as_str(), "panic" | "timeout"));
    let words: Vec<&String> = words.filter(|_| typed.is_empty()).collect();
    let id = listener.id;
    let problem = |names: &[&String], what: String| {
        let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
        let what = format!("has {}, which listener `{id}` {what}", names.join(", "));
        Problem::new(said.origin.clone(), said.key.as_str(), what).help(format!(
            "name the type in its attribute, `retry({argument} = [..])`: then it is found by its name in the error and in all causes"
        ))
    };
    if !paths.is_empty() {
        let never =
            problem(&paths, format!("can never find: it returns {returned}, in which a type has no name"));
        match said.key.starts_with(&names::join(OURS, &of_listener(listener))) {
            true => binding.problems.error(never),
            false => binding.problems.notice(never),
        }
    } else if !words.is_empty() {
        let what = format!(
            "finds only if `Debug` begins with it (a struct, a variant; not an enum): it returns {returned}"
        );
        binding.problems.notice(problem(&words, what));
    }
}

/// The type's name without its path and parameters.
fn last_part(path: &str) -> &str {
    let path = path.split('<').next().unwrap_or(path);
    path.rsplit("::").next().unwrap_or(path)
}
