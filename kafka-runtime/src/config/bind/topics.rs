//! `topics`: what is created or extended at start-up.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::names;
use super::super::problems::Problem;
use super::super::schema;
use super::super::settings::DeclaredTopic;
use super::super::value::{Notation, Size, Value as _};
use super::{Binding, Place};

/// All that are declared, in their order.
pub(crate) fn topics(binding: &mut Binding<'_>) -> Vec<DeclaredTopic> {
    let mut declared = Vec::new();
    for index in 0.. {
        let base = format!("topics[{index}]");
        let under = binding.sources.under(&names::join(schema::OURS, &base));
        let Some(first) = under.first().map(|property| property.key_origin.clone()) else { break };
        binding.section(format!("topic {index}"));
        match binding.text("name", &[Place::ours(format!("{base}.name"))]) {
            Some(name) => declared.push(topic(binding, &base, name)),
            None => {
                let problem = Problem::new(first, format!("kafka-runtime.{base}"), "has no name");
                binding.problems.error(problem);
            }
        }
    }
    declared
}

fn topic(binding: &mut Binding<'_>, base: &str, name: String) -> DeclaredTopic {
    let place = |what: &str| [Place::ours(format!("{base}.{what}"))];
    let partitions: Option<u32> = binding.optional("partitions", &place("partitions"));
    let replication: Option<u32> = binding.optional("replication", &place("replication"));
    let of_config = format!("{base}.config");
    let settings = binding.sources.view().names_under(&names::join(schema::OURS, &of_config));
    let mut config = BTreeMap::new();
    for setting in settings {
        let said = binding.text(&setting, &[Place::ours(format!("{of_config}.{setting}"))]);
        if let Some(said) = said {
            let value = as_kafka_has_it(&setting, &said);
            config.insert(setting, value);
        }
    }
    DeclaredTopic {
        name,
        partitions: partitions.and_then(|count| i32::try_from(count).ok()),
        replication: replication.and_then(|count| i16::try_from(count).ok()),
        config,
    }
}

/// `7d` and `1GB` as the numbers that the broker takes; what is neither is for the broker to judge.
fn as_kafka_has_it(setting: &str, said: &str) -> String {
    let number = if setting.ends_with(".ms") {
        Duration::read(said, Notation::Spring).ok().map(|time| time.as_millis().to_string())
    } else if setting.ends_with("bytes") {
        Size::read(said, Notation::Spring).ok().map(|Size(bytes)| bytes.to_string())
    } else {
        None
    };
    number.unwrap_or_else(|| said.to_owned())
}
