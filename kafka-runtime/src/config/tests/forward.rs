//! Where what a handler returns goes.

use kafka_client::TopicName;

use super::{bill, mistake, mistakes, named, settings};
use crate::config::SendTo;
use crate::listener::{Attributes, ListenerDescriptor};

fn sending(send_to: Option<&'static str>, reply: bool) -> ListenerDescriptor {
    named("bill", Attributes { send_to, reply, ..bill().attributes })
}

fn topic(name: &str) -> TopicName {
    TopicName::new(name)
}

#[test]
fn the_attribute_says_whether_and_the_file_where_else_to() {
    assert_eq!(settings("", &bill()).send_to, None);
    let to = sending(Some("${app.to:invoices}"), false);
    assert_eq!(settings("", &to).send_to, Some(SendTo::Topic(topic("invoices"))));
    assert_eq!(settings("app.to: bills", &to).send_to, Some(SendTo::Topic(topic("bills"))));
    let file = "kafka-runtime.listeners.bill.send-to: elsewhere";
    assert_eq!(settings(file, &to).send_to, Some(SendTo::Topic(topic("elsewhere"))));
    let reply = sending(None, true);
    assert_eq!(settings("", &reply).send_to, Some(SendTo::Answer { otherwise: None }));
    let otherwise = Some(topic("elsewhere"));
    assert_eq!(settings(file, &reply).send_to, Some(SendTo::Answer { otherwise }));
}

#[test]
fn what_cannot_be_is_refused() {
    let file = |to: &str| format!("kafka-runtime.listeners.bill.send-to: {to}");
    let nothing = mistake(&file("elsewhere"), &[&bill()]);
    assert!(nothing.contains("whose handler returns nothing to send"), "{nothing}");
    let to = sending(Some("invoices"), false);
    let circle = mistake(&file("orders"), &[&to]);
    assert!(circle.contains("is a topic that it reads"), "{circle}");
    let name = mistake(&file("no topic"), &[&to]);
    assert!(name.contains("cannot be the name of a topic"), "{name}");
    let by_hand = mistakes("kafka-runtime.listeners.bill.ack: manual", &[&to]);
    assert!(by_hand.len() == 1 && by_hand[0].contains("acknowledged by hand"), "{by_hand:?}");
}
