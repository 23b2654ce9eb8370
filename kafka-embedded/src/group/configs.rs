//! What is set on groups of KIP-848 in place of the broker's settings. A group needs not exist for that.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::consumer::Terms;

/// `consumer.session.timeout.ms`
pub(crate) const SESSION: &str = "consumer.session.timeout.ms";
/// `consumer.heartbeat.interval.ms`
pub(crate) const HEARTBEAT: &str = "consumer.heartbeat.interval.ms";

type Set = BTreeMap<String, String>;

/// The configs of all groups that have some.
#[derive(Debug, Default)]
pub(crate) struct GroupConfigs(Mutex<BTreeMap<String, Set>>);

impl GroupConfigs {
    /// What is set on `group`.
    pub(crate) fn set_on(&self, group: &str) -> Set {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(group).cloned().unwrap_or_default()
    }

    /// Puts `set` in the place of what was set.
    pub(crate) fn put(&self, group: &str, set: Set) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if set.is_empty() {
            all.remove(group);
        } else {
            all.insert(group.to_owned(), set);
        }
    }

    /// The groups on which something is set.
    pub(crate) fn groups(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    /// What `group` keeps to, where the broker says `terms`.
    pub(crate) fn terms(&self, group: &str, terms: Terms) -> Terms {
        // What was set was checked.
        apply(&self.set_on(group), terms).unwrap_or(terms)
    }
}

/// `terms` with what is set; the refusal's message where that cannot be.
pub(crate) fn apply(set: &Set, mut terms: Terms) -> Result<Terms, String> {
    for (name, value) in set {
        let millis = value.trim().parse().ok().filter(|millis: &i32| *millis >= 1);
        let invalid =
            || format!("Invalid value {value} for configuration {name}: it must be a number of at least 1");
        let time =
            || millis.map(|millis| Duration::from_millis(millis.unsigned_abs().into())).ok_or_else(invalid);
        match name.as_str() {
            SESSION => terms.session_timeout = time()?,
            HEARTBEAT => terms.heartbeat_interval = time()?,
            _ => return Err(format!("Unknown group config name: {name}")),
        }
    }
    if terms.heartbeat_interval >= terms.session_timeout {
        return Err(format!("{SESSION} must be greater than {HEARTBEAT}"));
    }
    Ok(terms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_keeps_to_what_is_set_on_it_and_to_the_broker_in_all_else() {
        let broker = Terms {
            session_timeout: Duration::from_secs(45),
            heartbeat_interval: Duration::from_secs(5),
            max_size: 3,
        };
        let set = |name: &str, value: &str| BTreeMap::from([(name.to_owned(), value.to_owned())]);
        let configs = GroupConfigs::default();
        configs.put("g", set(SESSION, "7000"));
        let terms = configs.terms("g", broker);
        let told = (terms.session_timeout, terms.heartbeat_interval, terms.max_size);
        assert_eq!(told, (Duration::from_secs(7), Duration::from_secs(5), 3));
        assert_eq!(configs.terms("other", broker).session_timeout, broker.session_timeout);
        assert_eq!(configs.groups(), ["g"]);
        configs.put("g", Set::new());
        assert!(configs.groups().is_empty());
        for (name, value) in [(SESSION, "soon"), (SESSION, "0"), (SESSION, "5000"), ("no.such", "1")] {
            assert!(apply(&set(name, value), broker).is_err(), "{name}={value}");
        }
    }
}
