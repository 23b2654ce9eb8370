//! The broker from outside: raw requests over pipes in memory, in tokio's paused time.

mod admin;
mod fetch;
mod garbage;
mod groups;
mod lifecycle;
mod peer;
mod produce;
mod rskafka;
mod versions;
