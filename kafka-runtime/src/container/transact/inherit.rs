//! What a partition's owner left open when it was gone: between its offsets and the end of its transaction the committed
//! offset is not known, so nobody can begin. The heir has the same transactional id, and ends it by getting its own
//! producer ready; otherwise the coordinator would after `transaction.timeout.ms`.

use std::collections::HashMap;

use kafka_client::TopicPartition;
use tracing::{info, warn};

use super::{Transact, Trouble};
use crate::container::give_back::Ending;

/// What is being ended, by partition. Ends with this value.
#[derive(Debug, Default)]
pub(crate) struct Inheritance(HashMap<TopicPartition, Ending>);

impl Inheritance {
    /// Ends what the owner before left open. `transact` is the partition's, and has begun nothing.
    pub(crate) fn accept(&mut self, mut transact: Transact) {
        self.0.retain(|_, end| !end.has_come());
        // One that is still at it does the same.
        let at = self.0.entry(transact.partition);
        at.or_insert_with(|| Ending::of(tokio::spawn(async move { transact.end_what_is_left().await })));
    }

    /// What the partition has to wait for before it begins: a producer that is made ready later would shut out its own.
    pub(crate) fn of(&self, partition: TopicPartition) -> Option<Ending> {
        self.0.get(&partition).filter(|end| !end.has_come()).cloned()
    }
}

impl Drop for Inheritance {
    fn drop(&mut self) {
        self.0.values().for_each(Ending::abort);
    }
}

impl Transact {
    async fn end_what_is_left(&mut self) {
        let (listener, partition) = (std::sync::Arc::clone(&self.listener), self.partition);
        let listener = &*listener;
        // Whoever gets a producer ready while its partition is another's aborts the work of that one.
        if self.stamp().is_err() {
            return;
        }
        info!(listener, %partition, "its owner before left a transaction open, which is ended");
        if let Err(Trouble::Passing(cause) | Trouble::Lasting(cause)) = self.ready().await {
            warn!(listener, %partition, cause, "what its owner before left open cannot be ended: the coordinator does it after transaction.timeout.ms");
        }
    }
}
