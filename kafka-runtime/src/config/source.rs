//! Property sources, the strongest first, and the search through them.
//!
//! ```text
//! set in code ▶ command line ▶ SPRING_APPLICATION_JSON ▶ environment ▶ random.* ▶ documents, the last one first
//! ```

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use kafka_client::seams::Rng;

use super::environment::Environment;
use super::names::{self, Element};
use super::origin::Origin;
use super::random;

/// One value, as it was written; placeholders are resolved when it is asked for.
#[derive(Clone)]
pub(crate) struct Property {
    /// The whole name, as written.
    pub path: String,
    /// The value.
    pub text: String,
    /// Where the value stands.
    pub origin: Origin,
    /// Where the name stands.
    pub key_origin: Origin,
}

/// A value that was found.
#[derive(Clone)]
pub(crate) struct Found<'s> {
    pub text: Cow<'s, str>,
    pub origin: Origin,
}

/// Properties in the order they were written, searchable by any spelling of their names.
#[derive(Default)]
pub(crate) struct Document {
    properties: Vec<Property>,
    canonical: Vec<String>,
    by_path: HashMap<String, usize>,
    by_canonical: BTreeMap<String, usize>,
}

impl Document {
    pub(crate) fn new(properties: Vec<Property>) -> Self {
        let mut document = Self::default();
        properties.into_iter().for_each(|property| document.push(property));
        document
    }

    /// Adds a property; one of the same spelling is replaced, and wins over other spellings of the name.
    pub(crate) fn push(&mut self, property: Property) {
        if let Some(known) = self.by_path.get(&property.path).and_then(|at| self.properties.get_mut(*at)) {
            *known = property;
            return;
        }
        let (at, canonical) = (self.properties.len(), names::canonical(&property.path));
        self.by_path.insert(property.path.clone(), at);
        self.by_canonical.insert(canonical.clone(), at);
        self.canonical.push(canonical);
        self.properties.push(property);
    }

    /// Every property with its canonical name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Property, &str)> {
        self.properties.iter().zip(self.canonical.iter().map(String::as_str))
    }

    /// The text of `path` in whatever spelling.
    pub(crate) fn find_text(&self, path: &str) -> Option<String> {
        self.find(path, &names::canonical(path)).map(|property| property.text.clone())
    }

    fn literal(&self, path: &str) -> Option<&Property> {
        self.properties.get(*self.by_path.get(path)?)
    }

    /// The property of this name: in the very spelling, else the last in any (as in Spring).
    fn find(&self, path: &str, canonical: &str) -> Option<&Property> {
        self.literal(path).or_else(|| self.properties.get(*self.by_canonical.get(canonical)?))
    }
}

/// One source.
pub(crate) enum Source {
    /// What was written somewhere.
    Document(Document),
    /// The environment.
    Environment(Environment),
    /// `random.*`
    Random(Arc<Rng>),
}

impl Source {
    fn find(&self, path: &str, canonical: &str) -> Option<Found<'_>> {
        match self {
            Self::Document(document) => document.find(path, canonical).map(found),
            Self::Environment(environment) => environment.find(path),
            Self::Random(rng) => {
                let text = random::value(path.strip_prefix("random.")?, rng)?;
                Some(Found { text: text.into(), origin: Origin::Random })
            }
        }
    }

    fn literal(&self, name: &str) -> Option<Found<'_>> {
        match self {
            Self::Document(document) => document.literal(name).map(found),
            Self::Environment(environment) => environment.literal(name),
            Self::Random(_) => self.find(name, name),
        }
    }
}

fn found(property: &Property) -> Found<'_> {
    Found { text: Cow::Borrowed(&property.text), origin: property.origin.clone() }
}

/// All sources, the strongest first.
#[derive(Default)]
pub(crate) struct Sources {
    pub(crate) list: Vec<Source>,
}

impl Sources {
    /// All of them.
    pub(crate) fn view(&self) -> View<'_> {
        View { list: &self.list }
    }

    /// See [`View::find`].
    pub(crate) fn find(&self, path: &str) -> Option<Found<'_>> {
        self.view().find(path)
    }

    /// See [`View::literal`].
    pub(crate) fn literal(&self, name: &str) -> Option<Found<'_>> {
        self.view().literal(name)
    }

    /// See [`View::list`].
    pub(crate) fn list(&self, path: &str) -> Option<Vec<Found<'_>>> {
        self.view().list(path)
    }

    /// See [`View::under`].
    pub(crate) fn under(&self, path: &str) -> Vec<Cow<'_, Property>> {
        self.view().under(path)
    }

    /// See [`View::children`].
    pub(crate) fn children(&self, path: &str) -> Vec<Child> {
        self.view().children(path)
    }
}

/// Some of the sources, the strongest first.
#[derive(Clone, Copy)]
pub(crate) struct View<'s> {
    list: &'s [Source],
}

impl<'s> View<'s> {
    /// The strongest source that has anything at or below `path`, alone: lists do not merge.
    pub(crate) fn strongest(self, path: &str) -> Self {
        let has = |one: &&'s Source| {
            let one = View { list: std::slice::from_ref(*one) };
            one.find(path).is_some() || !one.under(path).is_empty()
        };
        Self { list: self.list.iter().find(has).map(std::slice::from_ref).unwrap_or_default() }
    }

    /// The strongest value of `path`, in whatever spelling.
    pub(crate) fn find(self, path: &str) -> Option<Found<'s>> {
        let canonical = names::canonical(path);
        self.list.iter().find_map(|source| source.find(path, &canonical))
    }

    /// The strongest value of exactly this name.
    pub(crate) fn literal(self, name: &str) -> Option<Found<'s>> {
        self.list.iter().find_map(|source| source.literal(name))
    }

    /// The elements of a list, all from the strongest source that has any: indexed, or (the one element) a text
    /// with commas, which beats them. A gap ends it.
    pub(crate) fn list(self, path: &str) -> Option<Vec<Found<'s>>> {
        let canonical = names::canonical(path);
        self.list.iter().find_map(|source| {
            if let Some(text) = source.find(path, &canonical) {
                return Some(vec![text]);
            }
            let element =
                |index: usize| source.find(&format!("{path}[{index}]"), &format!("{canonical}[{index}]"));
            let elements: Vec<_> = (0..).map_while(element).collect();
            (!elements.is_empty()).then_some(elements)
        })
    }

    /// Everything that any source has below `path`, the strongest first.
    pub(crate) fn under(self, path: &str) -> Vec<Cow<'s, Property>> {
        let canonical = names::canonical(path);
        let mut all = Vec::new();
        for source in self.list {
            match source {
                Source::Document(document) => all.extend(
                    document
                        .iter()
                        .filter(|(_, name)| names::below(name, &canonical).is_some())
                        .map(|(property, _)| Cow::Borrowed(property)),
                ),
                Source::Environment(environment) => {
                    all.extend(environment.under(path).into_iter().map(Cow::Owned));
                }
                Source::Random(_) => {}
            }
        }
        all
    }

    /// The dotted names of all values below `path`, as written by the strongest source.
    pub(crate) fn names_under(self, path: &str) -> Vec<String> {
        let depth = names::elements(path).len();
        let (mut seen, mut found) = (BTreeSet::new(), Vec::new());
        for property in self.under(path) {
            let words: Vec<_> =
                names::elements(&property.path).iter().skip(depth).map(element_name).collect();
            let name = words.join(".");
            if seen.insert(names::canonical(&name)) {
                found.push(name);
            }
        }
        found
    }

    /// The names of the elements directly below `path`, as written by the strongest source.
    pub(crate) fn children(self, path: &str) -> Vec<Child> {
        let depth = names::elements(path).len();
        let (mut seen, mut children) = (BTreeSet::new(), Vec::new());
        for property in self.under(path) {
            let Some(name) = names::elements(&property.path).get(depth).map(element_name) else { continue };
            if seen.insert(names::uniform(&name)) {
                children.push(Child { name, origin: property.key_origin.clone() });
            }
        }
        children
    }
}

/// An element below a path.
pub(crate) struct Child {
    /// As written; without what a name cannot have, where it is not in brackets.
    pub name: String,
    pub origin: Origin,
}

fn element_name(element: &Element<'_>) -> String {
    match element {
        Element::Word(text) => {
            text.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_')).collect()
        }
        Element::Bracket(text) => (*text).to_owned(),
        Element::Index(index) => index.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(properties: &[(&str, &str)]) -> Source {
        let property = |(path, text): &(&str, &str)| Property {
            path: (*path).into(),
            text: (*text).into(),
            origin: Origin::Code,
            key_origin: Origin::Code,
        };
        Source::Document(Document::new(properties.iter().map(property).collect()))
    }

    fn environment(variables: &[(&str, &str)]) -> Source {
        Source::Environment(Environment::new(
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
        ))
    }

    fn sources(list: Vec<Source>) -> Sources {
        Sources { list }
    }

    fn text(sources: &Sources, path: &str) -> Option<String> {
        sources.find(path).map(|found| found.text.into_owned())
    }

    fn list(sources: &Sources, path: &str) -> Vec<String> {
        sources.list(path).unwrap_or_default().into_iter().map(|found| found.text.into_owned()).collect()
    }

    #[test]
    fn of_several_spellings_in_one_document_the_kebab_form_wins_or_else_the_last() {
        let all = sources(vec![document(&[("c.groupId", "a"), ("c.group-id", "b"), ("c.group_ID", "c")])]);
        assert_eq!(text(&all, "c.group-id").as_deref(), Some("b"));
        let all = sources(vec![document(&[("c.groupId", "a"), ("c.group_ID", "c")])]);
        assert_eq!(text(&all, "c.group-id").as_deref(), Some("c"));
    }

    #[test]
    fn every_spelling_of_a_variable_works_and_the_one_without_separators_wins() {
        for name in [
            "SPRING_KAFKA_CONSUMER_GROUPID",
            "SPRING_KAFKA_CONSUMER_GROUP_ID",
            "spring_kafka_consumer_group_id",
            "spring.kafka.consumer.group-id",
        ] {
            let all = sources(vec![environment(&[(name, "x")])]);
            assert_eq!(text(&all, "spring.kafka.consumer.group-id").as_deref(), Some("x"), "{name}");
        }
        let both = sources(vec![environment(&[
            ("SPRING_KAFKA_CONSUMER_GROUP_ID", "legacy"),
            ("SPRING_KAFKA_CONSUMER_GROUPID", "uniform"),
        ])]);
        assert_eq!(text(&both, "spring.kafka.consumer.group-id").as_deref(), Some("uniform"));
    }

    #[test]
    fn a_list_comes_whole_from_the_strongest_source_and_a_gap_ends_it() {
        let file = document(&[("s[0]", "a"), ("s[1]", "b"), ("s[2]", "c")]);
        let all = sources(vec![environment(&[("S_0", "x"), ("S_2", "z")]), file]);
        assert_eq!(list(&all, "s"), ["x"]);
    }

    #[test]
    fn a_comma_value_beats_the_indexed_ones_of_its_source() {
        let all = sources(vec![environment(&[("S_0", "x"), ("S", "y,z")])]);
        assert_eq!(list(&all, "s"), ["y,z"]);
    }

    #[test]
    fn children_are_those_of_all_sources() {
        let all = sources(vec![
            environment(&[("R_LISTENERS_PAY_TOPIC", "t")]),
            document(&[("r.listeners.my_id.topic", "t"), ("r.listeners.pay.topic", "u")]),
        ]);
        let names: Vec<_> = all.children("r.listeners").into_iter().map(|child| child.name).collect();
        assert_eq!(names, ["pay", "my_id"]);
    }
}
