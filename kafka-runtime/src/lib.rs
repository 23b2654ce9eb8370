//! Declarative Kafka listeners.
//!
//! # Layout, in the order that data flows
//!
//! ```text
//! config     application.yml, environment, profiles -> typed settings, each with its source
//! listener   what #[kafka_listener] registers: descriptor, handler, payloads, extractors
//! container  a listener at work: members, partitions, dispatch, outcome, ledger, commits
//! dead_letter  what is written with a record that failed for good, and read of it
//! template   sending
//! app        the application: registry + configuration -> containers, run until told to stop
//! testing    the application of main() on an embedded broker (feature `testing`)
//! ```
// The expansion of #[kafka_listener] names this crate; so do its own tests.
extern crate self as kafka_runtime;

mod app;
pub mod config;
pub mod container;
pub mod dead_letter;
mod error;
mod json;
pub mod listener;
pub mod prelude;
pub mod template;
#[cfg(feature = "testing")]
pub mod testing;

pub use app::{
    Answer, App, ListenerError, ListenerHandle, Listeners, RunningApp, Summary, linked_listeners,
    shutdown_signal,
};
pub use error::{Error, Result};
pub use kafka_client::config::StartAt;
pub use kafka_client::{TopicName, TopicPartition};
#[doc = include_str!("listener/kafka_listener.md")]
pub use kafka_derive::kafka_listener;

/// What the code of `#[kafka_listener]` names. No promise is made about it.
#[doc(hidden)]
pub mod __private {
    pub use inventory;

    pub use crate::container::Bound;
    pub use crate::listener::__private::*;
    pub use crate::listener::{
        Attributes, BatchDelivery, BatchFailure, BatchHandler, CommitEvery, ControlsAttribute,
        DeadLetterAttribute, Delivery, Failure, Fatal, Handler, ListenerDescriptor, PartitionsAttribute,
        Preparation, Prepared, RetryAttribute, RetryTopicsAttribute, Site, SourceLocation,
    };
}

/// The README's code, and that of the pages behind it, is compiled with the documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
#[doc = include_str!("../../docs/running.md")]
struct Readme;
