//! The documentation's table is the table.

use std::path::PathBuf;

use crate::config::schema::{self, Effect, KAFKA, Known, SPRING};

const BEGIN: &str = "<!-- from the table in the code: UPDATE_DOCS=1 cargo test -p kafka-runtime docs -->\n";

#[test]
fn docs_hold_the_table() {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/configuration.md"));
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, written) = text.split_once(BEGIN).expect("the marker");
    let table = crate::config::reference();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, format!("{before}{BEGIN}{table}")).unwrap();
    } else {
        assert_eq!(written, table, "UPDATE_DOCS=1 cargo test -p kafka-runtime docs");
    }
}

/// Every `spring.kafka.*` of Spring Boot 3.5's own metadata (without `ssl` and `streams`, which are one row each).
const SPRING_BOOT: &str = include_str!("spring-boot-keys.txt");

#[test]
fn every_key_of_spring_boot_is_in_the_table() {
    let missing: Vec<_> = SPRING_BOOT
        .lines()
        .filter(|key| {
            let path = key.strip_prefix("spring.kafka.").unwrap();
            !matches!(schema::find(path, true), Known::Key(..))
        })
        .collect();
    assert!(missing.is_empty(), "{missing:#?}");
}

/// Every name of Kafka 4.1's clients, with who has it: C, P, A.
const KAFKA_CLIENTS: &str = include_str!("kafka-names.txt");

#[test]
fn every_name_of_kafkas_clients_is_in_the_table() {
    for line in KAFKA_CLIENTS.lines() {
        let (name, clients) = line.split_once(' ').unwrap();
        let key = schema::KafkaKey::find(name).unwrap_or_else(|| panic!("{name}"));
        for client in clients.chars() {
            let scope = match client {
                'C' => schema::Scope::Consumer,
                'P' => schema::Scope::Producer,
                _ => schema::Scope::Admin,
            };
            assert!(key.concerns(scope), "{name} of {client}");
        }
    }
}

#[test]
fn typed_keys_name_settings_that_exist_and_none_stands_twice() {
    let mut seen = std::collections::HashSet::new();
    for schema::Entry { spring, path, key, .. } in schema::keys() {
        assert!(seen.insert((spring, path)), "{path}");
        if !key.kafka.is_empty() {
            assert!(KAFKA.iter().any(|kafka| kafka.name == key.kafka), "{path}");
        }
        if !matches!(key.effect, Effect::Honoured) && *spring {
            let found = schema::find(path.trim_end_matches(".**"), true);
            assert!(matches!(found, Known::Key(..) | Known::Group), "{SPRING}.{path}");
        }
    }
}
