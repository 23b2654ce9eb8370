//! What can be set on groups of KIP-848 in place of the broker's settings.

use std::collections::BTreeMap;
use std::time::Duration;

use super::consumer::Terms;

/// `consumer.session.timeout.ms`
pub(crate) const SESSION: &str = "consumer.session.timeout.ms";
/// `consumer.heartbeat.interval.ms`
pub(crate) const HEARTBEAT: &str = "consumer.heartbeat.interval.ms";

type Set = BTreeMap<String, String>;

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
        let terms = apply(&set(SESSION, "7000"), broker).unwrap();
        let told = (terms.session_timeout, terms.heartbeat_interval, terms.max_size);
        assert_eq!(told, (Duration::from_secs(7), Duration::from_secs(5), 3));
        let untouched = apply(&Set::new(), broker).unwrap();
        assert_eq!(untouched.session_timeout, broker.session_timeout);
        for (name, value) in [(SESSION, "soon"), (SESSION, "0"), (SESSION, "5000"), ("no.such", "1")] {
            assert!(apply(&set(name, value), broker).is_err(), "{name}={value}");
        }
    }
}
