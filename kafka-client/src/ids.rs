//! Names that travel everywhere: small, `Copy`, and compared by value.

use std::cell::Cell;
use std::collections::HashSet;
use std::fmt;
use std::sync::{LazyLock, PoisonError, RwLock};

/// The name of a topic, interned for the life of the process.
///
/// A record's metadata names its topic; interning makes that name a pointer, so that nothing is counted or
/// copied per record. What is interned is never freed: a process holds one copy of each name it ever met,
/// which the number of topics in its clusters bounds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicName(&'static str);

thread_local! {
    /// The name that was asked for last, which is mostly the one that is asked for next.
    static LAST: Cell<&'static str> = const { Cell::new("") };
}

static NAMES: LazyLock<RwLock<HashSet<&'static str>>> = LazyLock::new(RwLock::default);

impl TopicName {
    /// The interned form of `name`.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let last = LAST.get();
        if last == name && !name.is_empty() {
            return Self(last);
        }
        let interned = Self::interned(name);
        LAST.set(interned);
        Self(interned)
    }

    fn interned(name: &str) -> &'static str {
        if let Some(known) = NAMES.read().unwrap_or_else(PoisonError::into_inner).get(name) {
            return known;
        }
        let mut names = NAMES.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = names.get(name) {
            return known;
        }
        let leaked: &'static str = Box::leak(name.into());
        names.insert(leaked);
        leaked
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.0
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.0)
    }
}

impl fmt::Debug for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.0, f)
    }
}

impl From<&str> for TopicName {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

impl PartialEq<str> for TopicName {
    fn eq(&self, other: &str) -> bool {
        self.0 == other
    }
}

impl PartialEq<&str> for TopicName {
    fn eq(&self, other: &&str) -> bool {
        self.0 == *other
    }
}

/// One partition of one topic, shown as `orders-3`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    /// The topic.
    pub topic: TopicName,
    /// The partition's number, from 0.
    pub partition: i32,
}

impl TopicPartition {
    /// Partition `partition` of `topic`.
    #[must_use]
    pub fn new(topic: impl Into<TopicName>, partition: i32) -> Self {
        Self { topic: topic.into(), partition }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

impl fmt::Debug for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_names_are_one_pointer() {
        let one = TopicName::new("orders");
        let two = TopicName::new(&String::from("orders"));
        assert_eq!(one, two);
        assert!(std::ptr::eq(one.as_str(), two.as_str()));
        assert_eq!(TopicPartition::new("orders", 3).to_string(), "orders-3");
    }
}
