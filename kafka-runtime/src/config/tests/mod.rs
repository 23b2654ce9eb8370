//! The whole way, from texts to settings.

mod commit;
mod controls;
mod docs;
mod errors;
mod explain;
mod forward;
mod listener;
mod order;
mod own_keys;
mod producer;
mod retry_topics;
mod spring;
mod transactional;

use super::{Config, ConfigBuilder, ListenerSettings};
use crate::container::Bound;
use crate::listener::{Attributes, ListenerDescriptor, Preparation, SourceLocation};

fn never(_: &mut Preparation<'_>) -> Bound {
    panic!("configuration binds no handler")
}

/// A listener of the topic `orders` in the group `billing`, as its attribute says.
fn bill() -> ListenerDescriptor {
    named("bill", Attributes { topics: &["orders"], group: Some("billing"), ..Attributes::default() })
}

fn named(id: &'static str, attributes: Attributes) -> ListenerDescriptor {
    ListenerDescriptor {
        id,
        function: id,
        location: SourceLocation { file: "src/main.rs", line: 7, column: 1 },
        attributes,
        batch: false,
        takes_ack: false,
        takes_tx: false,
        error_type: || None,
        bind: never,
    }
}

fn yaml(text: &str) -> ConfigBuilder {
    Config::builder().yaml("application.yml", text)
}

fn config(text: &str) -> Config {
    yaml(text).build().unwrap()
}

fn get(config: &Config, key: &str) -> Option<String> {
    config.get(key).unwrap()
}

/// What `listener` runs by under the file `text`.
fn settings(text: &str, listener: &ListenerDescriptor) -> ListenerSettings {
    config(text).check(&[listener]).unwrap().pop().unwrap()
}

/// What is wrong with `text` for `listeners`, line by line.
fn mistakes(text: &str, listeners: &[&ListenerDescriptor]) -> Vec<String> {
    let errors = match yaml(text).build() {
        Ok(config) => config.check(listeners).unwrap_err(),
        Err(errors) => errors,
    };
    errors.problems().iter().map(ToString::to_string).collect()
}

/// The one thing that is wrong.
fn mistake(text: &str, listeners: &[&ListenerDescriptor]) -> String {
    let mut all = mistakes(text, listeners);
    assert_eq!(all.len(), 1, "{all:#?}");
    all.remove(0)
}
