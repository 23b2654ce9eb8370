//! The conformance suite: what Apache Kafka 4.1 answers, the embedded broker answers.
//!
//! Each row asks over a raw connection, at an exact version, and says in a line what came back; the same code runs on
//! both brokers, so a difference is a failing test. `docs/conformance.md` is made from the rows.
//!
//! ```text
//! frame      a row, its run, the table
//! kafka      the cluster that a row runs on: brokers, leaders, coordinators, topics of its own; nodes: brokers that go
//! wire       a connection that does nothing by itself
//! said       answers in words
//! asked      requests in few words; member: members of classic groups; consumer_group: groups of KIP-848; transactional:
//!            a producer of transactions
//! advertised the APIs and versions that each broker offers
//! the rest   rows, by family
//! ```
//!
//! A new API gets a file, or rows in its family's.

mod advertised;
mod asked;
mod consumer_group;
mod frame;
mod kafka;
mod member;
mod nodes;
mod said;
mod transactional;
mod wire;

mod broker_configs;
mod config_values;
mod configs;
mod consumer_group_admin;
mod consumer_groups;
mod coordinator;
mod fetch;
mod group_admin;
mod group_offsets;
mod groups;
mod idempotent;
mod impatient;
mod leaders;
mod losses;
mod metadata;
mod mixed_groups;
mod offsets;
mod produce;
mod repeated;
mod sessions;
mod topics;
mod transactional_admin;
mod transactional_data;
mod transactional_offsets;
mod transactions;
mod versions;

use std::path::PathBuf;

const BEGIN: &str =
    "<!-- from the rows in the code: UPDATE_DOCS=1 cargo test -p tests --test conformance docs -->\n";

#[test]
fn docs_hold_the_table() {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/conformance.md"));
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, written) = text.split_once(BEGIN).expect("the marker");
    let table = format!("{}\n{}", frame::table(), advertised::table());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, format!("{before}{BEGIN}{table}")).unwrap();
    } else {
        let new: Vec<&str> = table.lines().filter(|line| !written.contains(line)).collect();
        assert!(
            written == table,
            "not in the page: {new:#?}\nUPDATE_DOCS=1 cargo test -p tests --test conformance docs"
        );
    }
}
