//! YAML files as flat properties, each with its line and column.
//!
//! ```text
//! text ──saphyr-parser──▶ events ──Builder──▶ one tree of nodes per document (aliases shared, `<<` merged)
//!      ──flatten──▶ spring.kafka.bootstrap-servers[0] = "localhost:9092" at 4:25
//! ```
//! Nesting, size and the number of values are bounded, since an alias can stand for a thousand others.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span, Tag};

use super::names;
use super::origin::Origin;
use super::problems::Problem;
use super::scalar::{self, Scalar};
use super::source::Property;

/// The largest file.
const MAX_BYTES: usize = 4 << 20;
/// The deepest nesting.
const MAX_DEPTH: usize = 50;
/// The most values in a file, with aliases written out.
const MAX_VALUES: usize = 100_000;

/// The documents of the file `name` whose content is `text`.
pub(crate) fn documents(name: &Arc<str>, text: &str) -> Result<Vec<Vec<Property>>, Vec<Problem>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.len() > MAX_BYTES {
        let what = format!("is larger than {} MiB: this is no configuration", MAX_BYTES >> 20);
        return Err(vec![Problem::new(Origin::WholeFile(Arc::clone(name)), "", what)]);
    }
    let mut builder = Builder::new(Arc::clone(name));
    for event in Parser::new_from_str(text) {
        match event {
            Ok((event, span)) => builder.event(event, span),
            Err(error) => builder.problem(*error.marker(), format!("is not YAML: {}", error.info())),
        }
        // What follows a mistake means something else: one is enough.
        if builder.broken {
            break;
        }
    }
    if builder.problems.is_empty() {
        let documents = builder.flattened();
        if builder.problems.is_empty() {
            return Ok(documents);
        }
    }
    Err(builder.problems)
}

#[derive(Debug)]
struct Node {
    value: NodeValue,
    at: Marker,
}

#[derive(Debug)]
enum NodeValue {
    Scalar(Scalar),
    Sequence(Vec<Rc<Node>>),
    Mapping(Vec<Pair>),
}

#[derive(Debug, Clone)]
struct Pair {
    key: String,
    at: Marker,
    value: Rc<Node>,
}

/// A node that is not complete yet.
struct Open {
    anchor: usize,
    at: Marker,
    content: OpenContent,
}

enum OpenContent {
    Sequence(Vec<Rc<Node>>),
    Mapping { pairs: Vec<Pair>, key: Option<(String, Marker, bool)>, merged: Vec<Rc<Node>> },
}

struct Builder {
    file: Arc<str>,
    open: Vec<Open>,
    anchors: HashMap<usize, Rc<Node>>,
    documents: Vec<Rc<Node>>,
    problems: Vec<Problem>,
    broken: bool,
    values: usize,
}

impl Builder {
    fn new(file: Arc<str>) -> Self {
        Self {
            file,
            open: Vec::new(),
            anchors: HashMap::new(),
            documents: Vec::new(),
            problems: Vec::new(),
            broken: false,
            values: 0,
        }
    }

    fn origin(&self, at: Marker) -> Origin {
        Origin::File { file: Arc::clone(&self.file), line: at.line(), column: at.col() + 1 }
    }

    fn problem(&mut self, at: Marker, what: impl Into<String>) {
        self.problems.push(Problem::new(self.origin(at), "", what));
        self.broken = true;
    }

    fn event(&mut self, event: Event<'_>, span: Span) {
        let at = span.start;
        match event {
            Event::DocumentStart(_) => self.anchors.clear(),
            Event::Scalar(text, style, anchor, tag) => match typed(&text, style, tag.as_deref()) {
                Ok(scalar) => self.complete(anchor, Node { value: NodeValue::Scalar(scalar), at }),
                Err(what) => self.problem(at, what),
            },
            Event::SequenceStart(anchor, tag) => {
                self.start(anchor, at, tag.as_deref(), "seq", OpenContent::Sequence(Vec::new()));
            }
            Event::MappingStart(anchor, tag) => {
                let content = OpenContent::Mapping { pairs: Vec::new(), key: None, merged: Vec::new() };
                self.start(anchor, at, tag.as_deref(), "map", content);
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Alias(anchor) => match self.anchors.get(&anchor).cloned() {
                Some(node) => self.add(node, at),
                None => self.problem(at, "an alias cannot stand inside of what it stands for"),
            },
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
        }
    }

    fn start(&mut self, anchor: usize, at: Marker, tag: Option<&Tag>, expected: &str, content: OpenContent) {
        match tag {
            Some(tag) if !(tag.is_yaml_core_schema() && tag.suffix == expected) => {
                self.problem(at, unknown_tag(tag))
            }
            _ if self.open.len() >= MAX_DEPTH => {
                self.problem(at, format!("is nested more than {MAX_DEPTH} levels deep"));
            }
            _ if self.is_key() => self.problem(at, "a list or a map cannot be a key"),
            _ => self.open.push(Open { anchor, at, content }),
        }
    }

    /// Whether the next node is the key of a map.
    fn is_key(&self) -> bool {
        matches!(self.open.last(), Some(Open { content: OpenContent::Mapping { key: None, .. }, .. }))
    }

    fn end(&mut self) {
        let Some(Open { anchor, at, content }) = self.open.pop() else { return };
        let value = match content {
            OpenContent::Sequence(items) => NodeValue::Sequence(items),
            OpenContent::Mapping { pairs, merged, .. } => NodeValue::Mapping(self.merge(pairs, &merged)),
        };
        self.complete(anchor, Node { value, at });
    }

    fn complete(&mut self, anchor: usize, node: Node) {
        let (at, node) = (node.at, Rc::new(node));
        if anchor > 0 {
            self.anchors.insert(anchor, Rc::clone(&node));
        }
        self.add(node, at);
    }

    /// Puts a node into the one that is open; `at` is where it is mentioned.
    fn add(&mut self, node: Rc<Node>, at: Marker) {
        match self.open.last_mut().map(|open| &mut open.content) {
            None => self.documents.push(node),
            Some(OpenContent::Sequence(items)) => items.push(node),
            Some(OpenContent::Mapping { key: key @ None, .. }) => match &node.value {
                NodeValue::Scalar(Scalar::Text(text)) => *key = Some((text.clone(), at, text == "<<")),
                // Spring: what is no text as a key, is an index.
                NodeValue::Scalar(Scalar::Typed(text)) => *key = Some((format!("[{text}]"), at, false)),
                NodeValue::Scalar(Scalar::Null) => *key = Some(("[null]".to_owned(), at, false)),
                _ => self.problem(at, "a list or a map cannot be a key"),
            },
            Some(OpenContent::Mapping { pairs, key, merged }) => match key.take() {
                Some((_, _, true)) => merged.push(node),
                Some((key, at, false)) => pairs.push(Pair { key, at, value: node }),
                None => {}
            },
        }
    }

    /// The pairs of a map with what `<<` brings: its own keys win, then the first of the merged maps.
    fn merge(&mut self, mut pairs: Vec<Pair>, merged: &[Rc<Node>]) -> Vec<Pair> {
        let mut seen = HashSet::new();
        let twice: Vec<_> = pairs.iter().filter(|pair| !seen.insert(pair.key.clone())).cloned().collect();
        for Pair { key, at, .. } in twice {
            let problem = Problem::new(self.origin(at), key, "stands twice in one map");
            self.problems.push(problem);
        }
        let mut maps: Vec<&Rc<Node>> = Vec::new();
        for node in merged {
            match &node.value {
                NodeValue::Sequence(items) => maps.extend(items),
                _ => maps.push(node),
            }
        }
        for node in maps {
            let NodeValue::Mapping(inherited) = &node.value else {
                self.problem(node.at, "`<<` merges maps, and lists of maps, only");
                break;
            };
            for pair in inherited {
                if seen.insert(pair.key.clone()) {
                    pairs.push(pair.clone());
                }
            }
        }
        pairs
    }

    fn flattened(&mut self) -> Vec<Vec<Property>> {
        let documents = std::mem::take(&mut self.documents);
        let mut all = Vec::with_capacity(documents.len());
        for document in documents {
            let mut properties = Vec::new();
            match &document.value {
                NodeValue::Mapping(_) => self.flatten("", &document, document.at, 0, &mut properties),
                NodeValue::Scalar(Scalar::Null) => {}
                _ => self.problem(document.at, "a document is a map of keys, this is something else"),
            }
            all.push(properties);
        }
        all
    }

    fn flatten(&mut self, path: &str, node: &Node, key_at: Marker, depth: usize, to: &mut Vec<Property>) {
        if depth > MAX_DEPTH || self.values > MAX_VALUES {
            if !self.broken {
                let what = "is too deep or too large, with aliases written out";
                self.problem(node.at, what);
            }
            return;
        }
        let value = |text: String| Property {
            path: path.to_owned(),
            text,
            origin: self.origin(node.at),
            key_origin: self.origin(key_at),
        };
        match &node.value {
            NodeValue::Scalar(scalar) => to.push(value(scalar.clone().into_text())),
            NodeValue::Sequence(items) if items.is_empty() => to.push(value(String::new())),
            NodeValue::Sequence(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.flatten(&format!("{path}[{index}]"), item, item.at, depth + 1, to);
                }
            }
            NodeValue::Mapping(pairs) => {
                for pair in pairs {
                    self.flatten(&names::join(path, &pair.key), &pair.value, pair.at, depth + 1, to);
                }
            }
        }
        self.values += 1;
    }
}

/// What a scalar is, by its tag or else by its form.
fn typed(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Result<Scalar, String> {
    let plain = style == ScalarStyle::Plain;
    let of_type = |value: Option<String>, kind: &str| {
        value.map(Scalar::Typed).ok_or_else(|| format!("is not a {kind}, as its tag says"))
    };
    match tag {
        None if plain => Ok(scalar::plain(text)),
        None => Ok(Scalar::Text(text.to_owned())),
        Some(tag) if tag.handle.is_empty() && tag.suffix == "!" => Ok(Scalar::Text(text.to_owned())),
        Some(tag) if tag.is_yaml_core_schema() => match tag.suffix.as_str() {
            "str" => Ok(Scalar::Text(text.to_owned())),
            "null" => Ok(Scalar::Null),
            "bool" => of_type(scalar::boolean(text).map(str::to_owned), "boolean"),
            "int" => of_type(scalar::integer(text), "whole number"),
            "float" => {
                let whole = || text.parse().ok().map(scalar::java_double);
                of_type(scalar::float(text).or_else(whole), "number")
            }
            _ => Err(unknown_tag(tag)),
        },
        Some(tag) => Err(unknown_tag(tag)),
    }
}

fn unknown_tag(tag: &Tag) -> String {
    format!("the tag `{tag}` is not supported")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Vec<Vec<Property>>, Vec<Problem>> {
        documents(&"application.yml".into(), text)
    }

    fn flat(text: &str) -> Vec<(String, String)> {
        load(text).unwrap().concat().into_iter().map(|property| (property.path, property.text)).collect()
    }

    fn value(text: &str, path: &str) -> Option<String> {
        flat(text).into_iter().find(|(name, _)| name == path).map(|(_, value)| value)
    }

    fn mistake(text: &str) -> String {
        match load(text) {
            Ok(_) => panic!("accepted"),
            Err(problems) => problems[0].to_string(),
        }
    }

    #[test]
    fn maps_lists_and_documents_become_flat_names() {
        let text = "spring:\n  kafka:\n    bootstrap-servers: [a:1, b:2]\n    consumer: {group-id: g}\nx.y: 1\n---\nz:\n";
        assert_eq!(
            flat(text),
            [
                ("spring.kafka.bootstrap-servers[0]", "a:1"),
                ("spring.kafka.bootstrap-servers[1]", "b:2"),
                ("spring.kafka.consumer.group-id", "g"),
                ("x.y", "1"),
                ("z", ""),
            ]
            .map(|(path, text)| (path.to_owned(), text.to_owned()))
        );
        assert_eq!(load(text).unwrap().len(), 2);
        assert!(load("").unwrap().is_empty());
        assert_eq!(flat("\u{feff}a:\r\n  b: x\r\n"), [("a.b".to_owned(), "x".to_owned())]);
    }

    #[test]
    fn places_are_lines_and_columns_from_one() {
        let documents = load("a:\n  b:   value\n").unwrap();
        assert_eq!(documents[0][0].origin.to_string(), "application.yml:2:8");
        assert_eq!(documents[0][0].key_origin.to_string(), "application.yml:2:3");
    }

    #[test]
    fn plain_scalars_are_typed_and_quoted_ones_are_not() {
        assert_eq!(value("a: on", "a").as_deref(), Some("true"));
        assert_eq!(value("a: 'on'", "a").as_deref(), Some("on"));
        assert_eq!(value("a: \"010\"", "a").as_deref(), Some("010"));
        assert_eq!(value("a: !!str 010", "a").as_deref(), Some("010"));
        assert_eq!(value("a: !!float 3", "a").as_deref(), Some("3.0"));
        assert_eq!(value("a: |\n  010\n", "a").as_deref(), Some("010\n"));
        assert_eq!(value("on: yes", "[true]").as_deref(), Some("true"));
        assert_eq!(value("m: {1: x}", "m[1]").as_deref(), Some("x"));
    }

    #[test]
    fn anchors_aliases_and_merge_keys() {
        let text = "base: &b {x: 1, y: 2}\nmore: &m {y: 3, z: 4}\nown:\n  <<: [*b, *m]\n  x: 5\nlist: [*b]\nsame: *b\n";
        for (path, expected) in
            [("own.x", "5"), ("own.y", "2"), ("own.z", "4"), ("list[0].y", "2"), ("same.x", "1")]
        {
            assert_eq!(value(text, path).as_deref(), Some(expected), "{path}");
        }
        assert!(mistake("a: &a [*a]").contains("alias"));
        assert!(mistake("a:\n  <<: 1\n").contains("merges maps"));
    }

    #[test]
    fn mistakes_have_a_place() {
        assert_eq!(mistake("a: 1\nb: 2\na: 3\n"), "application.yml:3:1: `a` stands twice in one map");
        assert!(mistake("spring:\n  kafka: [unclosed\n").starts_with("application.yml:"));
        assert!(mistake("a: @x").starts_with("application.yml:1:4: is not YAML"));
        assert!(mistake("- a\n- b\n").contains("map of keys"));
        assert!(mistake("a: !!java.Evil x").contains("tag"));
        assert!(mistake("? [a]\n: b\n").contains("cannot be a key"));
        assert!(mistake("a: *nope").starts_with("application.yml:1:"));
    }

    #[test]
    fn depth_size_and_number_are_bounded() {
        assert!(mistake(&"[".repeat(60)).contains("nested"));
        assert!(mistake(&"[".repeat(10_000)).starts_with("application.yml:1:"));
        assert!(mistake(&format!("a: {}", " ".repeat(MAX_BYTES))).contains("larger"));
        let mut bomb = "a0: &a0 [1,1,1,1,1,1,1,1,1,1]\n".to_owned();
        for level in 1..9 {
            let alias = format!("*a{},", level - 1);
            bomb.push_str(&format!("a{level}: &a{level} [{}]\n", alias.repeat(10)));
        }
        assert!(mistake(&bomb).contains("too large"));
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(2000))]

        #[test]
        fn no_text_panics(text in "\\PC{0,80}", yaml in "[-?:,\\[\\]{}#&*!|>'\"%@` \\n\\ta0.<~=]{0,60}") {
            let _ = load(&text);
            let _ = load(&yaml);
        }
    }
}
