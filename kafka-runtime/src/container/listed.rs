//! Partitions in a line: `orders 0-3, 7; payments 1`.

use std::fmt;

use kafka_client::{TopicName, TopicPartition};

/// Many partitions, shown as topics with ranges of numbers.
#[derive(Debug)]
pub(crate) struct Listed(Vec<TopicPartition>);

impl Listed {
    pub(crate) fn new(partitions: impl IntoIterator<Item = TopicPartition>) -> Self {
        let mut sorted: Vec<_> = partitions.into_iter().collect();
        sorted.sort_unstable();
        sorted.dedup();
        Self(sorted)
    }

    /// Runs of neighbours: topic, first, last.
    fn runs(&self) -> Vec<(TopicName, i32, i32)> {
        let mut runs: Vec<(TopicName, i32, i32)> = Vec::new();
        for TopicPartition { topic, partition } in &self.0 {
            match runs.last_mut() {
                Some((same, _, last)) if same == topic && last.checked_add(1) == Some(*partition) => {
                    *last = *partition
                }
                _ => runs.push((*topic, *partition, *partition)),
            }
        }
        runs
    }
}

impl fmt::Display for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut before = None;
        for (topic, first, last) in self.runs() {
            match before.replace(topic) {
                None => write!(f, "{topic} ")?,
                Some(same) if same == topic => f.write_str(", ")?,
                Some(_) => write!(f, "; {topic} ")?,
            }
            match first == last {
                true => write!(f, "{first}")?,
                false => write!(f, "{first}-{last}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_ranges() {
        let mut partitions: Vec<_> =
            [0, 1, 2, 3, 7].map(|number| TopicPartition::new("orders", number)).into();
        partitions.push(TopicPartition::new("payments", 1));
        assert_eq!(Listed::new(partitions).to_string(), "orders 0-3, 7; payments 1");
        assert_eq!(Listed::new([]).to_string(), "");
    }
}
