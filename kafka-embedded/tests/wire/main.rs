//! The broker from outside: raw requests over pipes in memory, in tokio's paused time.

// Helpers of tests are tests, though clippy knows only those that are marked.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod admin;
mod brokers;
mod consumer_groups;
mod faults;
mod faults_topics;
mod faults_unknown;
mod fetch;
mod fuzz;
mod garbage;
mod groups;
mod lifecycle;
mod peer;
mod produce;
mod repeats;
mod retention;
mod rskafka;
mod transactions;
mod versions;
mod versions_groups;
mod versions_topics;
