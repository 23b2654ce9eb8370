//! Every value in force, and where it came from. Secrets are masked where the values are read, before they get here.

use std::fmt;

use serde_json::{Map, Value, json};

use super::names;
use super::origin::Origin;
use super::placeholder;
use super::problems::Problem;
use super::schema::{OURS, SPRING};
use super::secrets;
use super::source::{Property, Sources};

/// A value in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub name: String,
    pub value: String,
    pub origin: Origin,
    /// The placeholders it came through, each with its own source.
    pub through: Vec<(String, Origin)>,
}

impl Row {
    fn source(&self) -> String {
        self.through.iter().fold(self.origin.to_string(), |source, (name, origin)| {
            format!("{source}, ${{{name}}} from {origin}")
        })
    }
}

/// Values that belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Section {
    pub title: String,
    pub rows: Vec<Row>,
}

impl Section {
    /// The rows in order, of each name the last one: a value that followed from others replaced the first.
    fn in_force(&self) -> Vec<&Row> {
        let last = |name: &str| self.rows.iter().rev().find(|row| row.name == name);
        let mut rows: Vec<&Row> = Vec::new();
        for row in self.rows.iter().filter_map(|row| last(&row.name)) {
            if !rows.contains(&row) {
                rows.push(row);
            }
        }
        rows
    }
}

/// The whole configuration as it is in force, for people ([`Display`](fmt::Display)) and programs
/// ([`to_json`](Self::to_json)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    pub(crate) profiles: Vec<String>,
    pub(crate) files: Vec<String>,
    pub(crate) sections: Vec<Section>,
    pub(crate) notices: Vec<Problem>,
    pub(crate) problems: Vec<Problem>,
}

impl Explanation {
    /// As JSON: `{"profiles": [..], "files": [..], "values": {"<section>": {"<name>": {"value": .., "source": ..}}},
    /// "notices": [..], "problems": [..]}`.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut values = Map::new();
        for section in &self.sections {
            let rows = section
                .in_force()
                .into_iter()
                .map(|row| (row.name.clone(), json!({"value": row.value, "source": row.source()})));
            values.insert(section.title.clone(), Value::Object(rows.collect()));
        }
        let texts = |problems: &[Problem]| problems.iter().map(ToString::to_string).collect::<Vec<_>>();
        let all = json!({
            "profiles": self.profiles,
            "files": self.files,
            "values": values,
            "notices": texts(&self.notices),
            "problems": texts(&self.problems),
        });
        format!("{all:#}")
    }

    /// Whether something is wrong, so that an application with this configuration would not start.
    #[must_use]
    pub fn has_problems(&self) -> bool {
        !self.problems.is_empty()
    }

    /// The value of `name` in the section `title` (`template`, `admin`, `listener <id>`, `application`), and its source.
    #[must_use]
    pub fn value(&self, title: &str, name: &str) -> Option<(String, String)> {
        let section = self.sections.iter().find(|section| section.title == title)?;
        let row = section.rows.iter().rev().find(|row| row.name == name)?;
        Some((row.value.clone(), row.source()))
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "profiles  {}", self.profiles.join(", "))?;
        writeln!(f, "files     {}", self.files.join(", "))?;
        for section in &self.sections {
            let rows = section.in_force();
            let width = |of: fn(&Row) -> &str| {
                rows.iter().map(|row| of(row).chars().count()).max().unwrap_or(0).min(60)
            };
            let (names, values) = (width(|row| &row.name), width(|row| &row.value));
            writeln!(f, "\n{}", section.title)?;
            for row in rows {
                writeln!(f, "  {:names$}  {:values$}  {}", row.name, row.value, row.source())?;
            }
        }
        for (title, problems) in [("notices", &self.notices), ("problems", &self.problems)] {
            if !problems.is_empty() {
                writeln!(f, "\n{title}")?;
                problems.iter().try_for_each(|problem| writeln!(f, "  {problem}"))?;
            }
        }
        Ok(())
    }
}

/// The application's own keys, which are none of ours: what the files and arguments say of them.
pub(crate) fn application(sources: &Sources) -> Section {
    let mut rows: Vec<Row> = Vec::new();
    for property in sources.under("") {
        let canonical = names::canonical(&property.path);
        let ours = [SPRING, OURS].iter().any(|prefix| {
            let prefix = names::canonical(prefix);
            canonical == prefix || names::below(&canonical, &prefix).is_some()
        });
        let known = rows.iter().any(|row| names::canonical(&row.name) == canonical);
        if !ours && !known && !matches!(property.origin, Origin::Environment(_)) {
            rows.extend(written(sources, &property, property.path.clone()));
        }
    }
    Section { title: "application".to_owned(), rows }
}

/// What is said of each listener by name, where the listeners themselves are not known.
pub(crate) fn named_listeners(sources: &Sources) -> Vec<Section> {
    let root = names::join(OURS, "listeners");
    let sections =
        sources.children(&root).into_iter().filter(|child| !matches!(child.origin, Origin::Environment(_)));
    sections
        .map(|child| {
            let path = format!("{root}[{}]", child.name);
            let depth = names::elements(&path).len();
            let own = sources.under(&path);
            let rows = own.iter().filter_map(|property| {
                let name = names::spelled(names::elements(&property.path).get(depth..)?);
                written(sources, property, name)
            });
            Section { title: format!("listener {}", child.name), rows: rows.collect() }
        })
        .collect()
}

/// The value in force of a key, as a row.
fn written(sources: &Sources, property: &Property, name: String) -> Option<Row> {
    let found = sources.find(&property.path)?;
    let (value, through) = match placeholder::resolve(&found.text, sources) {
        Ok(resolved) if resolved.secret => (secrets::MASK.to_owned(), resolved.through),
        Ok(resolved) => (secrets::shown(&property.path, &resolved.text), resolved.through),
        Err(_) => ("(unresolved)".to_owned(), Vec::new()),
    };
    Some(Row { name, value, origin: found.origin, through })
}
