//! What a listener under test saw, and a way to wait for it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;

/// A record as a handler saw it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seen {
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
    /// Key as text.
    pub key: Option<String>,
    /// Value as text.
    pub value: String,
}

/// Collects what handlers saw; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Probe(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    seen: Mutex<Vec<Seen>>,
    changed: Notify,
}

impl Probe {
    /// A handler saw this.
    pub fn saw(&self, partition: i32, offset: i64, key: Option<&str>, value: impl Into<String>) {
        let seen = Seen { partition, offset, key: key.map(str::to_owned), value: value.into() };
        self.0.seen.lock().unwrap().push(seen);
        self.0.changed.notify_waiters();
    }

    /// All so far, in the order of handling.
    pub fn seen(&self) -> Vec<Seen> {
        self.0.seen.lock().unwrap().clone()
    }

    /// How many so far.
    pub fn len(&self) -> usize {
        self.0.seen.lock().unwrap().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits until `count` were seen; fails after `limit`.
    pub async fn at_least(&self, count: usize, limit: Duration) {
        let wait = async {
            loop {
                let changed = self.0.changed.notified();
                if self.len() >= count {
                    return;
                }
                changed.await;
            }
        };
        if tokio::time::timeout(limit, wait).await.is_err() {
            panic!("{} of {count} records handled within {limit:?}", self.len());
        }
    }

    /// Each partition's offsets, in the order of handling.
    pub fn offsets(&self) -> BTreeMap<i32, Vec<i64>> {
        let mut offsets: BTreeMap<i32, Vec<i64>> = BTreeMap::new();
        for seen in self.seen() {
            offsets.entry(seen.partition).or_default().push(seen.offset);
        }
        offsets
    }

    /// Fails unless each partition was handled in order, without a gap and without a repetition.
    pub fn assert_each_once_in_order(&self) {
        for (partition, offsets) in self.offsets() {
            assert!(
                offsets.windows(2).all(|pair| pair[0] < pair[1]),
                "partition {partition}: out of order or repeated: {offsets:?}"
            );
        }
    }
}
