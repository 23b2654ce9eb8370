//! What a handler returned, encoded, on its way from the macro's code to whoever dispatches.

use std::sync::{Mutex, PoisonError};

use kafka_client::TopicName;
use kafka_client::records::Record as Source;

use crate::config::SendTo;
use crate::template::Record;

/// Takes what handlers return, one call after the other. Made by the container for listeners with `send_to` or
/// `reply`.
#[derive(Debug)]
pub struct Outbox {
    to: SendTo,
    returned: Mutex<Vec<Returned>>,
}

/// What the record at `offset` led to.
#[derive(Debug)]
pub(crate) struct Returned {
    pub(crate) offset: i64,
    /// In order; empty if there is nothing to send.
    pub(crate) records: Vec<Record>,
}

impl Outbox {
    pub(crate) fn new(to: SendTo) -> Self {
        Self { to, returned: Mutex::default() }
    }

    pub(crate) fn put(&self, offset: i64, records: Vec<Record>) {
        self.returned.lock().unwrap_or_else(PoisonError::into_inner).push(Returned { offset, records });
    }

    pub(crate) fn take(&self) -> Vec<Returned> {
        std::mem::take(&mut *self.returned.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The record that goes out because of `source`, without key and value; `None` where nobody is to get one.
    pub(super) fn addressed(&self, source: &Source<'_>) -> Option<Record> {
        let to_topic = |topic: TopicName| Record::to(topic.as_str());
        match self.to {
            SendTo::Topic(topic) => Some(to_topic(topic)),
            SendTo::Answer { otherwise } => {
                Record::answer_to(source.headers).or_else(|| otherwise.map(to_topic))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_is_taken_once_and_in_order() {
        let outbox = Outbox::new(SendTo::Topic(TopicName::new("enriched")));
        outbox.put(3, vec![Record::to("enriched").text("a"), Record::to("enriched").text("b")]);
        outbox.put(4, Vec::new());
        let taken: Vec<_> = outbox.take().into_iter().map(|one| (one.offset, one.records.len())).collect();
        assert_eq!(taken, [(3, 2), (4, 0)]);
        assert!(outbox.take().is_empty());
    }
}
