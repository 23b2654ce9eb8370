//! From a caller's record into its batch. Nothing here blocks: what has to wait is awaited, on whatever runtime the
//! caller has, with timers that run on the I/O thread.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Semaphore, TryAcquireError, watch};

use super::queue::Change;
use super::receipt::Delivery;
use super::sender::Command;
use super::topics::{Partition, Topic, Topics};
use super::transaction::Coordination;
use super::{Handle, Outgoing, SendError};
use crate::config::ProducerConfig;
use crate::error::Error;
use crate::ids::TopicName;
use crate::records::encode::{BatchBuilder, RecordToWrite};

/// Bytes of a batch besides its records.
const BATCH_OVERHEAD: usize = 61;

/// What callers and the sender share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) config: ProducerConfig,
    pub(super) topics: Topics,
    /// Bytes of `buffer.memory` that are free.
    pub(super) memory: Semaphore,
    /// How many wait for something to be sent: nothing lingers then.
    pub(super) hurried: AtomicUsize,
    pub(super) closing: watch::Sender<bool>,
    /// Where records are sent in transactions.
    pub(super) transaction: Option<Arc<Coordination>>,
}

/// Where a record goes.
enum Place {
    Partition(Arc<Partition>),
    /// Its topic is not known yet.
    UnknownTopic,
    /// Its topic has only so many partitions.
    UnknownPartition(usize),
}

impl Handle {
    pub(super) async fn enqueue(&self, record: Outgoing<'_>) -> Result<Delivery, SendError> {
        let timestamp = record.timestamp.unwrap_or_else(|| self.context.cluster.seams().clock.wall_millis());
        let to_write =
            RecordToWrite { timestamp, key: record.key, value: record.value, headers: record.headers };
        let size = BatchBuilder::upper_bound(&to_write);
        self.check_size(record.topic, size + BATCH_OVERHEAD)?;
        let partition = match self.place(&record, size)? {
            Place::Partition(partition) => partition,
            other => self.wait_for_place(&record, size, other).await?,
        };
        self.charge(size).await?;
        self.append(&partition, to_write, size)
    }

    fn check_size(&self, topic: TopicName, size: usize) -> Result<(), SendError> {
        let config = &self.shared.config;
        let limit = config.max_request_size.min(config.buffer_memory).min(u32::MAX as usize);
        if size > limit { Err(SendError::TooLarge { topic, size, limit }) } else { Ok(()) }
    }

    /// The partition, as far as it is known.
    fn place(&self, record: &Outgoing<'_>, size: usize) -> Result<Place, SendError> {
        if *self.shared.closing.borrow() {
            return Err(SendError::Closed);
        }
        let place = self.shared.topics.with(record.topic, |topic| self.choose(topic, record, size));
        Ok(place.unwrap_or(Place::UnknownTopic))
    }

    fn choose(&self, topic: &Topic, record: &Outgoing<'_>, size: usize) -> Place {
        let count = topic.partitions.len();
        let number = record.partition.unwrap_or_else(|| {
            let rng = &self.context.cluster.seams().rng;
            let batch_size = self.shared.config.batch_size;
            let count = i32::try_from(count).unwrap_or(i32::MAX);
            topic.chooser.choose(record.key, count, &topic.available, size, batch_size, rng)
        });
        match usize::try_from(number).ok().and_then(|index| topic.partitions.get(index)) {
            Some(partition) => Place::Partition(Arc::clone(partition)),
            None => Place::UnknownPartition(count),
        }
    }

    /// Waits until the metadata shows the topic, and the partition if one was asked for.
    async fn wait_for_place(
        &self,
        record: &Outgoing<'_>,
        size: usize,
        mut place: Place,
    ) -> Result<Arc<Partition>, SendError> {
        let (cluster, topic) = (&self.context.cluster, record.topic);
        let limit = self.shared.config.max_block;
        let mut pictures = cluster.watch();
        let mut closing = self.shared.closing.subscribe();
        let mut time_is_over = pin!(self.context.sleep(limit));
        let mut known_before = false;
        loop {
            match place {
                Place::Partition(partition) => return Ok(partition),
                Place::UnknownPartition(count) if known_before => {
                    let partition = record.partition.unwrap_or(-1);
                    return Err(SendError::UnknownPartition { topic, partition, count });
                }
                // It may have grown: once more, with fresh metadata.
                Place::UnknownPartition(_) => {
                    known_before = true;
                    // A failure shows in the wait for the next picture.
                    let _ = tokio::select! {
                        fresh = cluster.refreshed() => fresh,
                        () = &mut time_is_over => return Err(self.unavailable(topic, limit)),
                    };
                    self.shared.topics.learn(topic, || cluster.snapshot());
                }
                Place::UnknownTopic => {
                    cluster.track_while_used(topic, true);
                    if !self.shared.topics.learn(topic, || cluster.snapshot()) {
                        self.refused(topic)?;
                        tokio::select! {
                            _ = pictures.changed() => {}
                            _ = closing.wait_for(|closing| *closing) => return Err(SendError::Closed),
                            () = &mut time_is_over => return Err(self.unavailable(topic, limit)),
                        }
                    }
                }
            }
            place = self.place(record, size)?;
        }
    }

    /// An error of the topic that does not go by itself.
    fn refused(&self, topic: TopicName) -> Result<(), SendError> {
        let picture = self.context.cluster.snapshot();
        match picture.topics.get(&topic).and_then(|known| known.error) {
            Some(code) if !code.is_retriable() => {
                let at = crate::error::At::Topic(topic);
                Err(SendError::TopicUnavailable {
                    topic,
                    source: Error::Broker { api: "Metadata", code, at },
                })
            }
            _ => Ok(()),
        }
    }

    fn unavailable(&self, topic: TopicName, waited: Duration) -> SendError {
        match self.context.cluster.last_failure() {
            Some(source) => SendError::TopicUnavailable { topic, source },
            None => SendError::UnknownTopic { topic, waited },
        }
    }

    /// Takes so many bytes of the buffer memory, or waits for them.
    async fn charge(&self, size: usize) -> Result<(), SendError> {
        let amount = u32::try_from(size).unwrap_or(u32::MAX);
        let memory = &self.shared.memory;
        match memory.try_acquire_many(amount) {
            Ok(room) => room.forget(),
            Err(TryAcquireError::Closed) => return Err(SendError::Closed),
            Err(TryAcquireError::NoPermits) => {
                let _hurry = self.hurry();
                let limit = self.shared.config.max_block;
                tokio::select! {
                    room = memory.acquire_many(amount) => room.map_err(|_| SendError::Closed)?.forget(),
                    () = self.context.sleep(limit) => {
                        let limit_bytes = self.shared.config.buffer_memory;
                        return Err(SendError::BufferFull { limit: limit_bytes, waited: limit });
                    }
                }
            }
        }
        Ok(())
    }

    fn append(
        &self,
        partition: &Arc<Partition>,
        record: RecordToWrite<'_>,
        size: usize,
    ) -> Result<Delivery, SendError> {
        let appended = self.shared.topics.while_open(|| {
            partition.queue().append(record, size, || self.context.cluster.seams().clock.now())
        });
        let Some((receipt, index, change)) = appended else {
            self.shared.memory.add_permits(size);
            return Err(SendError::Closed);
        };
        if !partition.activate() {
            self.tell(Command::Active(Arc::clone(partition)));
        } else if change != Change::None {
            self.tell(Command::Look);
        }
        Ok(Delivery::new(receipt, index, partition.id, record.timestamp))
    }

    pub(super) async fn flush(&self, deadline: Duration) -> Result<(), SendError> {
        let _hurry = self.hurry();
        let mut settled = self.shared.topics.settled();
        tokio::select! {
            _ = &mut settled => Ok(()),
            () = self.context.sleep(deadline) => match settled.left() {
                0 => Ok(()),
                batches => Err(SendError::FlushTimeout { batches, after: deadline }),
            },
        }
    }

    /// Lets nothing linger until the guard is dropped.
    fn hurry(&self) -> Hurry<'_> {
        self.shared.hurried.fetch_add(1, Ordering::AcqRel);
        self.tell(Command::Look);
        Hurry { hurried: &self.shared.hurried }
    }

    fn tell(&self, command: Command) {
        // A sender that has ended has failed everything, and `append` sees it.
        let _ = self.commands.send(command);
    }
}

struct Hurry<'a> {
    hurried: &'a AtomicUsize,
}

impl Drop for Hurry<'_> {
    fn drop(&mut self) {
        self.hurried.fetch_sub(1, Ordering::AcqRel);
    }
}
