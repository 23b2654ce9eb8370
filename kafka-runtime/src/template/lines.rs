//! Records on their way into the producer: those of a topic one after the other, and none waits for another topic.
//!
//! ```text
//!   offer ──▶ there is room, the topic is known ──────────────▶ enqueued
//!         └─▶ head of the topic's line, waits ── next ──▶ ┘
//!                 └─ behind it, in order
//! ```

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::pin::Pin;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use kafka_client::TopicName;
use kafka_client::producer::{Delivery, Producer, SendError, Transaction};

use super::Record;

/// What takes records.
#[derive(Clone, Copy)]
pub(super) enum Way<'a> {
    Alone(&'a Producer),
    In(&'a Transaction),
}

impl Way<'_> {
    async fn enqueue(self, record: &Record) -> Result<Delivery, SendError> {
        let headers = record.header_views();
        let record = record.outgoing(&headers);
        match self {
            Self::Alone(producer) => producer.enqueue(record).await,
            Self::In(transaction) => transaction.enqueue(record).await,
        }
    }
}

/// A record that is in its batch, or will be in none, with what its sender keeps beside it.
pub(super) struct Enqueued<T> {
    pub(super) record: Record,
    pub(super) of: T,
    pub(super) delivery: Result<Delivery, SendError>,
}

type Head<'a, T> = Pin<Box<dyn Future<Output = Enqueued<T>> + Send + 'a>>;

pub(super) struct Lines<'a, T> {
    way: Way<'a>,
    heads: FuturesUnordered<Head<'a, T>>,
    /// What is behind the head of each topic that has one.
    behind: HashMap<TopicName, VecDeque<(Record, T)>>,
    /// What waited and does not any more.
    through: VecDeque<Enqueued<T>>,
}

impl<'a, T: Send + 'a> Lines<'a, T> {
    pub(super) fn new(way: Way<'a>) -> Self {
        Self { way, heads: FuturesUnordered::new(), behind: HashMap::new(), through: VecDeque::new() }
    }

    /// Takes a record; given back at once, unless it has to wait.
    pub(super) fn offer(&mut self, record: Record, of: T) -> Option<Enqueued<T>> {
        match self.behind.get_mut(&record.topic()) {
            Some(behind) => {
                behind.push_back((record, of));
                None
            }
            None => self.enqueue(record, of),
        }
    }

    /// The next record that waited; `None` while none does. Dropped, it has taken nothing.
    pub(super) async fn next(&mut self) -> Option<Enqueued<T>> {
        if self.through.is_empty() {
            let head = self.heads.next().await?;
            self.passed(head);
        }
        self.through.pop_front()
    }

    /// Enqueues a record, or makes it the head of its topic.
    fn enqueue(&mut self, record: Record, of: T) -> Option<Enqueued<T>> {
        let way = self.way;
        // Most need not wait, and a future that is not ready has taken nothing.
        if let Some(delivery) = way.enqueue(&record).now_or_never() {
            return Some(Enqueued { record, of, delivery });
        }
        self.behind.entry(record.topic()).or_default();
        self.heads.push(Box::pin(async move {
            let delivery = way.enqueue(&record).await;
            Enqueued { record, of, delivery }
        }));
        None
    }

    /// Lets those behind a head follow it, up to the first that has to wait. Where there is no topic, they have waited for it
    /// with their head.
    fn passed(&mut self, head: Enqueued<T>) {
        let topic = head.record.topic();
        let mut behind = self.behind.remove(&topic).unwrap_or_default();
        let why = head.delivery.as_ref().err().filter(|error| is_of_the_topic(error)).cloned();
        self.through.push_back(head);
        while let Some((record, of)) = behind.pop_front() {
            let followed = match &why {
                Some(why) => Some(Enqueued { delivery: Err(same(why, &record)), record, of }),
                None => self.enqueue(record, of),
            };
            match followed {
                Some(enqueued) => self.through.push_back(enqueued),
                None => {
                    self.behind.insert(topic, behind);
                    return;
                }
            }
        }
    }
}

fn is_of_the_topic(error: &SendError) -> bool {
    matches!(error, SendError::UnknownTopic { .. } | SendError::TopicUnavailable { .. })
}

/// The same failure, of another record for the topic.
fn same(why: &SendError, record: &Record) -> SendError {
    let record = record.unsent();
    match why {
        SendError::UnknownTopic { waited, .. } => SendError::UnknownTopic { record, waited: *waited },
        SendError::TopicUnavailable { source, .. } => {
            SendError::TopicUnavailable { record, source: source.clone() }
        }
        other => other.clone(),
    }
}
