//! What a listener's records are to lead to in another topic, and what is wrong with what is there at the end.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use kafka_client::config::{ConsumerConfig, IsolationLevel, StartAt, Subscription};
use kafka_client::consumer::{ConsumerEvent, PartitionStream, StreamItem};
use kafka_client::{Client, TopicPartition};
use tokio::time::timeout;

use super::{MakeValue, Order};

/// Nothing more comes, if it has not for so long: longer than a transaction stays open that nobody ends.
const QUIET: Duration = Duration::from_secs(90);

/// What the n-th record leads to.
pub(super) struct Results {
    pub(super) topic: String,
    pub(super) value: Box<MakeValue>,
}

/// A record that was sent, or a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Keyed {
    pub(super) key: String,
    pub(super) value: String,
}

/// What is wrong, in words (pure): `sent` in their order, `found` partition by partition. Of one key, what is there for the
/// first time comes in the order of the records, unless there is none; a transaction keeps it always.
pub(super) fn violations(
    sent: &[(u64, String)],
    make: impl Fn(u64) -> String,
    found: &[Keyed],
    order: Order,
    exactly_once: bool,
) -> Vec<String> {
    let mut times: HashMap<&str, usize> = HashMap::new();
    let mut first: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for Keyed { key, value } in found {
        let times = times.entry(value).or_default();
        *times += 1;
        if *times == 1 {
            first.entry(key).or_default().push(value);
        }
    }
    let mut expected: BTreeMap<&str, Vec<(u64, String)>> = BTreeMap::new();
    for (n, key) in sent {
        expected.entry(key).or_default().push((*n, make(*n)));
    }
    let mut wrong = Vec::new();
    for (key, wanted) in &expected {
        let there = first.remove(key).unwrap_or_default();
        for (n, value) in wanted {
            match times.get(value.as_str()).copied().unwrap_or(0) {
                0 => wrong.push(format!("result lost: record {n} led to nothing")),
                1 => {}
                times if exactly_once => {
                    wrong.push(format!("result twice: record {n} led to `{value}` {times} times"));
                }
                _ => {}
            }
        }
        let place: HashMap<&str, u64> = wanted.iter().map(|(n, value)| (value.as_str(), *n)).collect();
        let unknown = there.iter().filter(|value| !place.contains_key(*value));
        wrong.extend(unknown.map(|value| format!("result of nothing: `{value}`, key {key}")));
        let numbers: Vec<u64> = there.iter().filter_map(|value| place.get(value).copied()).collect();
        let unordered = numbers.windows(2).find(|pair| pair[0] > pair[1]);
        if let Some(pair) = unordered.filter(|_| order != Order::None || exactly_once) {
            let [later, earlier] = [pair[0], pair[1]];
            wrong.push(format!("result order: key {key}, that of record {earlier} after that of {later}"));
        }
    }
    let others =
        first.into_iter().flat_map(|(key, values)| values.into_iter().map(move |value| (key, value)));
    wrong.extend(others.map(|(key, value)| format!("result of nothing: `{value}`, key {key}")));
    wrong
}

/// All that readers of committed records see of a topic, partition by partition; or why it cannot be read.
pub(super) async fn read(client: &Client, topic: &str, partitions: usize) -> Result<Vec<Keyed>, String> {
    let all = (0..i32::try_from(partitions).unwrap_or(i32::MAX))
        .map(|number| (TopicPartition::new(topic, number), StartAt::Beginning));
    let config = ConsumerConfig {
        isolation: IsolationLevel::ReadCommitted,
        ..ConsumerConfig::new(Subscription::Partitions(all.collect()))
    };
    let mut consumer = client.consumer(config).map_err(|error| error.to_string())?;
    let mut streams = Vec::new();
    while streams.len() < partitions {
        match timeout(QUIET, consumer.next()).await {
            Ok(Some(ConsumerEvent::Assigned(more))) => streams.extend(more),
            Ok(Some(ConsumerEvent::Fatal(error))) => return Err(error.to_string()),
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => return Err("its partitions do not begin".into()),
        }
    }
    streams.sort_by_key(PartitionStream::partition);
    let mut found = Vec::new();
    for stream in &mut streams {
        while let Ok(Some(item)) = timeout(QUIET, stream.next()).await {
            take(item, &mut found)?;
        }
    }
    Ok(found)
}

fn take(item: StreamItem, found: &mut Vec<Keyed>) -> Result<(), String> {
    let mut chunk = match item {
        StreamItem::Chunk(chunk) => chunk,
        StreamItem::Failed(error) => return Err(error.to_string()),
        _ => return Ok(()),
    };
    let text = |part: Option<&[u8]>| String::from_utf8_lossy(part.unwrap_or_default()).into_owned();
    while let Some(batch) = chunk.next_batch().map_err(|error| error.to_string())? {
        for record in batch.records().filter(|_| batch.is_visible()) {
            let record = record.map_err(|error| error.to_string())?;
            found.push(Keyed { key: text(record.key), value: text(record.value) });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SENT: [(u64, &str); 4] = [(0, "a"), (1, "b"), (2, "a"), (3, "a")];

    fn kinds(found: &[(&str, u64)], order: Order, exactly_once: bool) -> Vec<String> {
        let sent = SENT.map(|(n, key)| (n, key.to_owned()));
        let found = found.iter().map(|(key, n)| Keyed { key: (*key).to_owned(), value: n.to_string() });
        let found: Vec<Keyed> = found.collect();
        let wrong = violations(&sent, |n| n.to_string(), &found, order, exactly_once);
        wrong.iter().map(|text| text.split(':').next().unwrap_or_default().to_owned()).collect()
    }

    #[test]
    fn each_once_and_in_order_is_well() {
        let found = [("b", 1), ("a", 0), ("a", 2), ("a", 3)];
        assert!(kinds(&found, Order::Partition, true).is_empty());
    }

    #[test]
    fn what_is_missing_and_what_nothing_led_to_is_found() {
        let found = [("a", 0), ("a", 2), ("b", 3), ("c", 9)];
        let wrong = kinds(&found, Order::None, true);
        assert_eq!(wrong, ["result lost", "result of nothing", "result of nothing"]);
    }

    #[test]
    fn twice_is_wrong_where_it_is_to_be_once() {
        let found = [("b", 1), ("a", 0), ("a", 2), ("a", 0), ("a", 2), ("a", 3)];
        assert!(kinds(&found, Order::Key, false).is_empty(), "a repetition, in order");
        assert_eq!(kinds(&found, Order::Key, true), ["result twice", "result twice"]);
    }

    #[test]
    fn the_order_is_that_of_the_first_times() {
        let found = [("b", 1), ("a", 2), ("a", 0), ("a", 3)];
        assert_eq!(kinds(&found, Order::Key, true), ["result order"]);
        assert_eq!(kinds(&found, Order::None, true), ["result order"]);
        assert!(kinds(&found, Order::None, false).is_empty());
    }
}
