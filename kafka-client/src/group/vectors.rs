//! The golden vectors of Kafka's own classes, for the tests of this module.

use std::path::PathBuf;

use bytes::Bytes;
use serde_json::Value;

use crate::ids::TopicPartition;

/// The lines of a file.
pub(super) fn lines(file: &str) -> Vec<Value> {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/vectors");
    let folder = std::env::var_os("KAFKA_VECTORS").map_or_else(|| PathBuf::from(default), PathBuf::from);
    let path = folder.join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Bytes in hex; null is none.
pub(super) fn bytes(value: &Value) -> Option<Bytes> {
    let text = value.as_str()?;
    assert!(!text.starts_with("base64:"), "no vector of this module is that long");
    Some((0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect())
}

pub(super) fn text(value: &Value) -> Option<String> {
    value.as_str().map(ToOwned::to_owned)
}

pub(super) fn int(value: &Value) -> Option<i32> {
    value.as_i64().map(|number| i32::try_from(number).unwrap())
}

/// `[["topic", partition], ...]`
pub(super) fn pairs(value: &Value) -> Vec<TopicPartition> {
    let pairs = value.as_array().into_iter().flatten();
    pairs.map(|pair| TopicPartition::new(pair[0].as_str().unwrap(), int(&pair[1]).unwrap())).collect()
}

/// `{"topic": [partitions], ...}`
pub(super) fn by_topic(value: &Value) -> Vec<TopicPartition> {
    let topics = value.as_object().into_iter().flatten();
    let partitions = topics.flat_map(|(topic, partitions)| {
        let numbers = partitions.as_array().unwrap().iter();
        numbers.map(|number| TopicPartition::new(topic.as_str(), int(number).unwrap()))
    });
    partitions.collect()
}

/// `["topic", ...]`
pub(super) fn topics(value: &Value) -> Vec<crate::ids::TopicName> {
    value.as_array().unwrap().iter().map(|topic| topic.as_str().unwrap().into()).collect()
}
