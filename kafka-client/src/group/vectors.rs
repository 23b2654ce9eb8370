//! What the golden vectors say of groups, for the tests of this module.

use serde_json::Value;

use crate::ids::TopicPartition;

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
