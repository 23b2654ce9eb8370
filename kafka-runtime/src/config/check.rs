//! The file against the table: names that nothing knows, values that are none, keys that do nothing or are refused.

use std::collections::HashMap;

use super::names::{self, Element};
use super::origin::Origin;
use super::placeholder;
use super::problems::{Problem, Problems};
use super::schema::{self, Effect, Entry, KAFKA, KafkaKey, Key, Known, OURS, SPRING, Scope, Shape};
use super::secrets;
use super::source::{Document, Property, Source, Sources};
use super::suggest;
use super::value::Notation;
use crate::listener::ListenerDescriptor;

/// Every name under our prefixes that the table does not have, in everything that was written: files (documents
/// of other profiles included), arguments, JSON. The environment is not searched: it is full of foreign names.
pub(crate) fn unknown_names(sources: &Sources, inactive: &[Document]) -> Problems {
    let mut problems = Problems::default();
    let active = sources.list.iter().filter_map(|source| match source {
        Source::Document(document) => Some(document),
        Source::Environment(_) | Source::Random(_) => None,
    });
    for document in active.chain(inactive) {
        names_of(document, &mut problems);
    }
    problems
}

fn names_of(document: &Document, problems: &mut Problems) {
    let mut seen: HashMap<&str, &Property> = HashMap::new();
    for (property, canonical) in document.iter() {
        for prefix in [SPRING, OURS] {
            let root = names::canonical(prefix);
            let whole = canonical == root;
            if whole && !property.text.is_empty() {
                problems.error(Problem::new(
                    property.key_origin.clone(),
                    &property.path,
                    "takes keys, not a value",
                ));
            } else if !whole && names::below(canonical, &root).is_some() {
                name(property, prefix, problems);
                if let Some(other) = seen.insert(canonical, property) {
                    let what = format!("is the same key as `{}` ({})", other.path, other.key_origin);
                    let problem = Problem::new(property.key_origin.clone(), &property.path, what);
                    problems
                        .notice(problem.help("keep one of them: which one wins is not defined in Spring"));
                }
            }
        }
    }
}

fn name(property: &Property, prefix: &str, problems: &mut Problems) {
    let path = below_prefix(&property.path, prefix);
    let problem = |what: &str| Problem::new(property.key_origin.clone(), &property.path, what);
    match schema::find(&path, prefix == SPRING) {
        Known::Key(Key { shape: Shape::Names(_) | Shape::Map, .. }, rest) if rest.is_empty() => {
            if !property.text.is_empty() {
                problems.error(problem("takes keys, not a value"));
            }
        }
        Known::Key(Key { shape: Shape::Names(_), .. }, rest) => {
            if KafkaKey::find(&rest).is_none() {
                let known = KAFKA.iter().map(|key| key.name.trim_end_matches(".**").to_owned());
                let unknown = problem(&format!("names `{rest}`, which no client of Kafka has"));
                problems.error(match suggest::nearest(&rest, known) {
                    Some(nearest) => unknown.did_you_mean(Some(nearest)),
                    None if rest.ends_with(|c: char| c.is_ascii_digit()) => {
                        unknown.help("a list becomes `name.0` here, as in Spring: write a text with commas")
                    }
                    None => unknown,
                });
            }
        }
        Known::Key(..) => {}
        Known::Element => problems.error(problem("takes one value, not a list")),
        Known::Group if property.text.is_empty() => {}
        Known::Group => problems.error(problem("takes keys, not a value")),
        Known::Unknown => problems.error(problem("is not known").did_you_mean(nearest(&path, prefix))),
    }
}

/// `path` without the elements of `prefix`, spelled as it was.
fn below_prefix(path: &str, prefix: &str) -> String {
    let skip = names::elements(prefix).len();
    names::spelled(names::elements(path).get(skip..).unwrap_or_default())
}

fn nearest(path: &str, prefix: &str) -> Option<String> {
    // A key of ours under Spring's prefix.
    if prefix == SPRING && matches!(schema::find(path, false), Known::Key(..)) {
        return Some(names::join(OURS, path));
    }
    let id = match names::elements(path).get(1) {
        Some(Element::Word(id) | Element::Bracket(id)) => (*id).to_owned(),
        _ => "id".to_owned(),
    };
    let known = schema::paths(prefix == SPRING).map(|path| path.replace('*', &id).replace("[]", "[0]"));
    suggest::nearest(path, known).map(|nearest| names::join(prefix, &nearest))
}

/// What the table says of the values in force.
pub(crate) fn effects(sources: &Sources) -> Problems {
    let mut check = Check { sources, problems: Problems::default() };
    let listeners = sources.children(&names::join(OURS, "listeners"));
    for Entry { spring, path, key, .. } in schema::keys() {
        let prefixes: &[&str] = if *spring { &[OURS, SPRING] } else { &[OURS] };
        for prefix in prefixes {
            match path.strip_prefix("listeners.*.") {
                Some(rest) => {
                    for listener in &listeners {
                        check.key(&format!("{prefix}.listeners[{}].{rest}", listener.name), key);
                    }
                }
                None => check.key(&names::join(prefix, path), key),
            }
        }
        if *spring {
            check.shadowed(path);
        }
    }
    check.problems
}

struct Check<'s> {
    sources: &'s Sources,
    problems: Problems,
}

impl Check<'_> {
    fn key(&mut self, path: &str, key: &'static Key) {
        match key.shape {
            Shape::Names(scope) => self.names(path, scope),
            Shape::Map => self.map(path.trim_end_matches(".**"), key),
            Shape::List => {
                for element in self.sources.list(path).unwrap_or_default() {
                    self.value(path, &element.text, &element.origin, key.shape, key.effect, Notation::Spring);
                }
            }
            shape => {
                if let Some(found) = self.sources.find(path) {
                    self.value(path, &found.text, &found.origin, shape, key.effect, shape.notation());
                }
            }
        }
    }

    /// Every name below a `properties`, in force.
    fn names(&mut self, path: &str, scope: Scope) {
        let depth = names::elements(path).len();
        for property in self.sources.under(path) {
            let shadowed =
                self.sources.find(&property.path).is_some_and(|found| found.origin != property.origin);
            let name = names::dotted(names::elements(&property.path).get(depth..).unwrap_or_default());
            let Some(key) = KafkaKey::find(&name).filter(|_| !shadowed) else { continue };
            if !key.concerns(scope) {
                let what = format!("has no effect: `{name}` is a setting of {}", key.clients());
                self.problems.notice(Problem::new(property.key_origin.clone(), &property.path, what));
                continue;
            }
            self.value(
                &property.path,
                &property.text,
                &property.origin,
                key.shape,
                key.effect,
                Notation::Kafka,
            );
        }
    }

    /// Anything below a map that is refused or without effect.
    fn map(&mut self, path: &str, key: &'static Key) {
        for property in self.sources.under(path) {
            // A more exact key of the table may stand inside, `jaas.enabled` for example.
            let prefix =
                [OURS, SPRING].into_iter().find(|prefix| path.starts_with(prefix)).unwrap_or_default();
            let known = schema::find(&below_prefix(&property.path, prefix), prefix == SPRING);
            if matches!(known, Known::Key(Key { shape: Shape::Map, .. }, _)) {
                self.value(
                    &property.path,
                    &property.text,
                    &property.origin,
                    Shape::Text,
                    key.effect,
                    Notation::Spring,
                );
            }
        }
    }

    fn value(
        &mut self,
        path: &str,
        text: &str,
        origin: &Origin,
        shape: Shape,
        effect: Effect,
        notation: Notation,
    ) {
        let problem =
            |what: String| Problem::new(origin.clone(), names::spelled(&names::elements(path)), what);
        let (text, secret) = match placeholder::resolve(text, self.sources) {
            Ok(resolved) => (resolved.text, resolved.secret),
            Err(unresolved) => return self.problems.error(problem(unresolved.what())),
        };
        if text.trim().is_empty() {
            return;
        }
        let shown = if secret { secrets::MASK.to_owned() } else { secrets::shown(path, &text) };
        match effect {
            Effect::Ignored(why) => self.problems.notice(problem(format!("has no effect: {why}"))),
            Effect::Refused(why) => return self.problems.error(problem(format!("is refused: {why}"))),
            Effect::RefusedUnless(allowed, why) if !text.trim().eq_ignore_ascii_case(allowed) => {
                return self.problems.error(problem(format!("= `{shown}` is refused: {why}")));
            }
            Effect::RefusedUnless(..) | Effect::Honoured | Effect::Mapped(_) => {}
        }
        if let Err(what) = shape.check(&text, notation) {
            self.problems.error(problem(format!("= `{shown}` {what}")));
        }
    }

    /// An operator's variable that a file shadows, because it stands under the name that wins.
    fn shadowed(&mut self, path: &str) {
        let (ours, spring) = (names::join(OURS, path), names::join(SPRING, path));
        let (Some(winner), Some(loser)) = (self.sources.find(&ours), self.sources.find(&spring)) else {
            return;
        };
        if matches!(winner.origin, Origin::File { .. }) && !matches!(loser.origin, Origin::File { .. }) {
            let what =
                format!("has no effect: `{ours}` ({}) wins over it, wherever it stands", winner.origin);
            self.problems.notice(Problem::new(loser.origin, spring, what));
        }
    }
}

/// Listeners that the file names and the program does not have, and listeners with one name.
pub(crate) fn listeners(sources: &Sources, linked: &[&ListenerDescriptor]) -> Problems {
    let mut problems = Problems::default();
    for child in sources.children(&names::join(OURS, "listeners")) {
        let known = linked.iter().any(|listener| names::uniform(listener.id) == names::uniform(&child.name));
        if known || matches!(child.origin, Origin::Environment(_)) {
            continue;
        }
        let what = "is no listener of this program";
        let nearest = suggest::nearest(&child.name, linked.iter().map(|listener| listener.id.to_owned()));
        let cure = "a listener in a dependency that nothing names is not linked: write `use the_crate as _;`";
        let help = match nearest {
            Some(nearest) => format!("did you mean `{nearest}`? ({cure})"),
            None => cure.to_owned(),
        };
        let key = format!("kafka-runtime.listeners.{}", child.name);
        problems.error(Problem::new(child.origin, key, what).help(help));
    }
    for (at, listener) in linked.iter().enumerate() {
        let same = |other: &&&ListenerDescriptor| names::uniform(other.id) == names::uniform(listener.id);
        if let Some(other) = linked.iter().take(at).find(same) {
            let origin = Origin::Attribute { location: listener.location, argument: "id".into() };
            let what = format!("listener `{}` has the name of the one at {}", listener.id, other.location);
            problems.error(Problem::new(origin, "", what).help("give one of them an `id`"));
        }
    }
    problems
}
