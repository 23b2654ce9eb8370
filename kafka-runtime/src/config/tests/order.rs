//! Which records wait for each other.

use super::{bill, mistakes, named, settings};
use crate::config::Ordering;
use crate::listener::{Attributes, ListenerDescriptor};

fn by_key() -> ListenerDescriptor {
    let attributes = Attributes {
        ordering: Some("key"),
        concurrency: Some("64"),
        commit_remember: Some("false"),
        ..bill().attributes
    };
    named("bill", attributes)
}

#[test]
fn the_partitions_order_unless_something_else_is_said() {
    let settings = settings("", &bill());
    assert_eq!((settings.ordering, settings.remember), (Ordering::Partition, true));
}

#[test]
fn the_attribute_and_the_file_that_wins() {
    let said = |text| {
        let settings = settings(text, &by_key());
        (settings.ordering, settings.concurrency, settings.remember)
    };
    assert_eq!(
        said("kafka-runtime.listener: {ordering: none, commit.remember: true}"),
        (Ordering::Key, Some(64), false)
    );
    let own = "kafka-runtime.listeners.bill: {ordering: none, concurrency: 8, commit: {remember: true}}";
    assert_eq!(said(own), (Ordering::None, Some(8), true));
}

#[test]
fn what_does_not_go_together_is_refused_with_a_cure() {
    let says = |text: &str, listener: &ListenerDescriptor, what: &str| {
        let mistakes = mistakes(text, &[listener]);
        assert!(mistakes.len() == 1 && mistakes[0].contains(what), "{mistakes:#?}");
    };
    let key = "kafka-runtime.listeners.bill.ordering: key";
    says(key, &bill(), "needs to know how many handlers may run at once");
    says(key, &ListenerDescriptor { batch: true, ..by_key() }, "this one takes batches");
    let by_hand = Attributes { ack: Some("manual"), ..by_key().attributes };
    says(key, &ListenerDescriptor { takes_ack: true, ..named("bill", by_hand) }, "exclude each other");
    says("kafka-runtime.listeners.bill.ordering: keys", &by_key(), "keys");
}
