//! What is set at run time on groups, and on brokers.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

type Set = BTreeMap<String, String>;

/// Configs by the name of what they are set on, which needs not exist.
#[derive(Debug, Default)]
pub(crate) struct NamedConfigs(Mutex<BTreeMap<String, Set>>);

impl NamedConfigs {
    /// What is set on `name`.
    pub(crate) fn set_on(&self, name: &str) -> Set {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned().unwrap_or_default()
    }

    /// Puts `set` in the place of what was set.
    pub(crate) fn put(&self, name: &str, set: Set) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if set.is_empty() {
            all.remove(name);
        } else {
            all.insert(name.to_owned(), set);
        }
    }

    /// On what something is set.
    pub(crate) fn names(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }
}
