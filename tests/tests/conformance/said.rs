//! Answers in words.

use kafka_client::records::Batches;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::fetch_response::PartitionData;

/// An error code by Kafka's name of it.
pub(crate) fn error(code: i16) -> String {
    if code == 0 {
        return "NONE".into();
    }
    let Some(known) = ResponseError::try_from_code(code) else { return format!("error {code}") };
    let mut name = String::new();
    for letter in format!("{known:?}").chars() {
        if letter.is_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}

/// Words with commas between them.
pub(crate) fn list<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}

/// Offset and value of each record of a fetch's answer, every checksum verified: `0=a 1=b`.
pub(crate) fn records(data: &PartitionData) -> String {
    let mut batches = Batches::new(data.records.clone().unwrap_or_default(), true);
    let mut all = Vec::new();
    while let Some(batch) = batches.next_batch().unwrap() {
        for record in batch.records() {
            let record = record.unwrap();
            let value = record.value.map_or("null".into(), String::from_utf8_lossy);
            all.push(format!("{}={value}", record.offset));
        }
    }
    all.join(" ")
}
