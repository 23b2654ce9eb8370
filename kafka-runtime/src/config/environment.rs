//! The environment as a source of properties.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::names;
use super::origin::Origin;
use super::source::{Found, Property};

/// Environment variables.
#[derive(Default)]
pub(crate) struct Environment {
    /// By the form of [`names::variable`], with the name as it was set.
    variables: BTreeMap<String, (Arc<str>, String)>,
    literal: HashMap<String, String>,
}

impl Environment {
    pub(crate) fn new(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut environment = Self::default();
        for (name, value) in variables {
            let form = names::variable(&name);
            // Of two spellings of one variable, the one in capitals is meant.
            if form == name || !environment.variables.contains_key(&form) {
                environment.variables.insert(form, (name.as_str().into(), value.clone()));
            }
            environment.literal.insert(name, value);
        }
        environment
    }

    pub(super) fn find(&self, path: &str) -> Option<Found<'_>> {
        names::variables(path).iter().find_map(|form| self.variable(form))
    }

    fn variable(&self, form: &str) -> Option<Found<'_>> {
        let (name, value) = self.variables.get(form)?;
        Some(Found { text: value.into(), origin: Origin::Environment(Arc::clone(name)) })
    }

    /// A variable by its own name, or by one that differs in case, dots and hyphens only.
    pub(super) fn literal(&self, name: &str) -> Option<Found<'_>> {
        match self.literal.get(name) {
            Some(value) => Some(Found { text: value.into(), origin: Origin::Environment(name.into()) }),
            None => self.variable(&names::variable(name)),
        }
    }

    /// The variables below `path`, each as the name that Spring derives from it: lower case, dots for underscores.
    pub(super) fn under(&self, path: &str) -> Vec<Property> {
        let mut found = Vec::new();
        for prefix in names::variables(path) {
            let prefix = format!("{prefix}_");
            for (form, (name, value)) in self.variables.range(prefix.clone()..) {
                let Some(rest) = form.strip_prefix(&prefix) else { break };
                let origin = Origin::Environment(Arc::clone(name));
                found.push(Property {
                    path: derived(path, rest),
                    text: value.clone(),
                    key_origin: origin.clone(),
                    origin,
                });
            }
        }
        found
    }
}

fn derived(path: &str, rest: &str) -> String {
    rest.to_lowercase().split('_').filter(|part| !part.is_empty()).fold(path.to_owned(), |path, part| {
        match part.parse::<usize>() {
            Ok(index) => format!("{path}[{index}]"),
            Err(_) => names::join(&path, part),
        }
    })
}
