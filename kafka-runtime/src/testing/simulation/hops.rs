//! What is in a listener's retry topics at the end, and what is wrong with it.

use std::collections::BTreeSet;

use kafka_client::config::StartAt;
use kafka_client::{Client, TopicPartition};

use crate::testing::witness::{Fate, Handling};

/// A retry topic, and the values that are in it.
#[derive(Debug)]
pub(super) struct Hop {
    pub(super) topic: String,
    pub(super) values: BTreeSet<Vec<u8>>,
}

/// What is wrong, in words (pure): what is in a topic was handled from there, or failed there and is in the next one; and
/// nothing else is in that.
pub(super) fn violations(handlings: &[Handling], hops: &[Hop], dead: &BTreeSet<Vec<u8>>) -> Vec<String> {
    let mut wrong = Vec::new();
    for (index, Hop { topic, values }) in hops.iter().enumerate() {
        let next = hops.get(index + 1).map_or(dead, |next| &next.values);
        let here = || handlings.iter().filter(|one| one.partition.topic.as_str() == topic);
        let of = |one: &Handling| one.value.as_ref().map(|value| value.to_vec());
        let done: BTreeSet<Vec<u8>> = here().filter(|one| one.fate == Fate::Done).filter_map(of).collect();
        let failed: BTreeSet<Vec<u8>> = here().filter(|one| one.has_failed()).filter_map(of).collect();
        let lost = values.iter().filter(|value| !done.contains(*value) && !next.contains(*value));
        wrong.extend(lost.map(|value| {
            format!(
                "retry lost: `{}` of {topic} was neither handled nor sent on",
                String::from_utf8_lossy(value)
            )
        }));
        let mistaken = next.iter().filter(|value| !failed.contains(*value));
        wrong.extend(mistaken.map(|value| {
            format!("retry of nothing: `{}` did not fail in {topic}", String::from_utf8_lossy(value))
        }));
    }
    wrong
}

/// Whether the group has committed the topic to its end.
pub(super) async fn is_committed(client: &Client, group: &str, topic: &str, partitions: usize) -> bool {
    let all: Vec<_> = (0..i32::try_from(partitions).unwrap_or(i32::MAX))
        .map(|number| TopicPartition::new(topic, number))
        .collect();
    let ends: Vec<_> = all.iter().map(|partition| (*partition, StartAt::End)).collect();
    let admin = client.admin();
    let (Ok(ends), Ok(committed)) = (admin.list_offsets(&ends).await, admin.committed(group, &all).await)
    else {
        return false;
    };
    ends.into_iter().all(|(partition, end)| {
        let found = committed.iter().find(|(at, _)| *at == partition);
        let offset = found.and_then(|(_, found)| found.as_ref()).map_or(0, |found| found.offset);
        end.is_ok_and(|end| end == offset)
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tokio::time::Instant;

    use super::*;

    fn handled(topic: &str, value: &str, fate: Fate) -> Handling {
        let now = Instant::now();
        Handling {
            listener: "jobs",
            instance: 0,
            partition: TopicPartition::new(topic, 0),
            offset: 0,
            key: None,
            value: Some(Bytes::copy_from_slice(value.as_bytes())),
            attempt: 1,
            fate,
            began: now,
            ended: Some(now),
        }
    }

    fn values(values: &[&str]) -> BTreeSet<Vec<u8>> {
        values.iter().map(|value| value.as_bytes().to_vec()).collect()
    }

    #[test]
    fn what_is_neither_handled_nor_sent_on_is_lost() {
        let hop = |topic: &str, there: &[&str]| Hop { topic: topic.into(), values: values(there) };
        let hops = [hop("jobs-retry-1", &["a", "b", "c"]), hop("jobs-retry-2", &["b", "c"])];
        let mut handlings = vec![
            handled("jobs-retry-1", "a", Fate::Done),
            handled("jobs-retry-1", "b", Fate::Failed("no".into())),
            handled("jobs-retry-1", "c", Fate::Panicked),
            handled("jobs-retry-2", "b", Fate::Failed("no".into())),
            handled("jobs-retry-2", "c", Fate::Done),
        ];
        assert_eq!(violations(&handlings, &hops, &values(&["b"])), [""; 0]);
        let lost = ["retry lost: `b` of jobs-retry-2 was neither handled nor sent on"];
        assert_eq!(violations(&handlings, &hops, &values(&[])), lost);
        handlings.remove(2);
        let mistaken = ["retry of nothing: `c` did not fail in jobs-retry-1"];
        assert_eq!(violations(&handlings, &hops, &values(&["b"])), mistaken);
    }
}
