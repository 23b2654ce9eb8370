//! From a caller's record into its batch. Nothing here blocks: what has to wait is awaited, on whatever runtime the
//! caller has, with timers that run on the I/O thread.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Semaphore, TryAcquireError};

use super::queue::Change;
use super::receipt::Delivery;
use super::sender::Command;
use super::stats::Counters;
use super::topics::{Obstacle, Partition, Topics};
use super::transaction::Coordination;
use super::{Handle, Outgoing, SendError, Unsent};
use crate::config::ProducerConfig;
use crate::error::Error;
use crate::records::encode::{BatchBuilder, RecordToWrite};
use crate::watch;

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
    pub(super) counters: Arc<Counters>,
}

/// Whether somebody waits for a record's delivery from the beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Urgency {
    Lingers,
    Awaited,
}

impl Handle {
    pub(super) async fn enqueue(
        &self,
        record: &Outgoing<'_>,
        urgency: Urgency,
    ) -> Result<Delivery, SendError> {
        let timestamp = record.timestamp.unwrap_or_else(|| self.context.cluster.seams().clock.wall_millis());
        let to_write =
            RecordToWrite { timestamp, key: record.key, value: record.value, headers: record.headers };
        let size = BatchBuilder::upper_bound(&to_write);
        self.check_size(record, size + BATCH_OVERHEAD)?;
        // What may have to wait is boxed, so that whoever sends moves a small future.
        if !self.charge(record, size)? {
            Box::pin(self.charge_later(record, size)).await?;
        }
        let charged = Charged { memory: &self.shared.memory, size };
        let delivery = match self.append(record, &to_write, size, urgency) {
            Ok(delivery) => delivery,
            Err(obstacle) => Box::pin(self.append_later(record, &to_write, size, urgency, obstacle)).await?,
        };
        // It is the batch's now.
        std::mem::forget(charged);
        Ok(delivery)
    }

    fn check_size(&self, record: &Outgoing<'_>, size: usize) -> Result<(), SendError> {
        let config = &self.shared.config;
        let limit = config.max_request_size.min(config.buffer_memory).min(u32::MAX as usize);
        if size <= limit {
            return Ok(());
        }
        Err(SendError::TooLarge { record: Unsent::of(record), size, limit })
    }

    /// Puts the record into its batch, if its partition is known.
    fn append(
        &self,
        record: &Outgoing<'_>,
        to_write: &RecordToWrite<'_>,
        size: usize,
        urgency: Urgency,
    ) -> Result<Delivery, Obstacle> {
        let rng = &self.context.cluster.seams().rng;
        self.shared.topics.with(record.topic, |topic| {
            let number = topic.choose(record, size, rng)?;
            let partition =
                topic.partition(number).ok_or(Obstacle::UnknownPartition { number, count: topic.count })?;
            Ok(self.put(partition, to_write, size, urgency, record.partition.is_some()))
        })
    }

    fn put(
        &self,
        partition: &Arc<Partition>,
        record: &RecordToWrite<'_>,
        size: usize,
        urgency: Urgency,
        named: bool,
    ) -> Delivery {
        let mut queue = partition.queue();
        let now = || self.context.cluster.seams().clock.now();
        let (receipt, index, change) = queue.append(*record, size, now);
        let hastened = urgency == Urgency::Awaited && queue.hasten();
        if change != Change::None || hastened {
            partition.note_backlog(&queue);
            drop(queue);
            if change != Change::Grown || hastened {
                self.tell(Command::Changed(Arc::clone(partition)));
            }
        }
        Delivery::new(receipt, index, partition.id, record.timestamp, named)
    }

    /// Says what cannot be, or waits until the metadata shows the topic, and the partition if one was asked for.
    async fn append_later(
        &self,
        record: &Outgoing<'_>,
        to_write: &RecordToWrite<'_>,
        size: usize,
        urgency: Urgency,
        mut obstacle: Obstacle,
    ) -> Result<Delivery, SendError> {
        let (cluster, topic) = (&self.context.cluster, record.topic);
        let limit = self.shared.config.max_block;
        let mut pictures = cluster.watch();
        let mut closing = self.shared.closing.subscribe();
        let mut time_is_over = pin!(self.context.sleep(limit));
        let mut known_before = false;
        loop {
            match obstacle {
                Obstacle::Closed => return Err(closed(record)),
                Obstacle::NoPartition => return Err(SendError::NoPartition { record: Unsent::of(record) }),
                Obstacle::PartitionerPanicked => {
                    return Err(SendError::PartitionerPanicked { record: Unsent::of(record) });
                }
                Obstacle::UnknownPartition { number, count } if known_before => {
                    let (record, count) = (Unsent::of(record), usize::try_from(count).unwrap_or(0));
                    return Err(SendError::UnknownPartition { record, partition: number, count });
                }
                // It may have grown: once more, with fresh metadata.
                Obstacle::UnknownPartition { .. } => {
                    known_before = true;
                    // A failure shows in the wait for the next picture.
                    let _ = tokio::select! {
                        biased;
                        fresh = cluster.refreshed() => fresh,
                        () = &mut time_is_over => return Err(self.unavailable(record, limit)),
                    };
                    self.shared.topics.learn(topic, || cluster.snapshot());
                }
                Obstacle::UnknownTopic => {
                    cluster.track_while_used(topic, true);
                    if !self.shared.topics.learn(topic, || cluster.snapshot()) {
                        self.refused(record)?;
                        tokio::select! {
                            biased;
                            _ = pictures.changed() => {}
                            _ = closing.wait_for(|closing| *closing) => return Err(closed(record)),
                            () = &mut time_is_over => return Err(self.unavailable(record, limit)),
                        }
                    }
                }
            }
            match self.append(record, to_write, size, urgency) {
                Ok(delivery) => return Ok(delivery),
                Err(next) => obstacle = next,
            }
        }
    }

    /// An error of the topic that does not go by itself.
    fn refused(&self, record: &Outgoing<'_>) -> Result<(), SendError> {
        let topic = record.topic;
        let picture = self.context.cluster.snapshot();
        match picture.topics.get(&topic).and_then(|known| known.error) {
            Some(code) if !code.is_retriable() => {
                let at = crate::error::At::Topic(topic);
                Err(SendError::Refused {
                    record: Unsent::of(record),
                    source: Error::Broker { api: "Metadata", code, at },
                    doubtful: false,
                })
            }
            _ => Ok(()),
        }
    }

    fn unavailable(&self, record: &Outgoing<'_>, waited: Duration) -> SendError {
        let record = Unsent::of(record);
        match self.context.cluster.last_failure() {
            Some(source) => SendError::TopicUnavailable { record, source },
            None => SendError::UnknownTopic { record, waited },
        }
    }

    /// Takes so many bytes of the buffer memory, if they are free now.
    fn charge(&self, record: &Outgoing<'_>, size: usize) -> Result<bool, SendError> {
        match self.shared.memory.try_acquire_many(permits(size)) {
            Ok(room) => {
                room.forget();
                Ok(true)
            }
            Err(TryAcquireError::Closed) => Err(closed(record)),
            Err(TryAcquireError::NoPermits) => Ok(false),
        }
    }

    /// Waits for so many bytes of the buffer memory, and takes them.
    async fn charge_later(&self, record: &Outgoing<'_>, size: usize) -> Result<(), SendError> {
        let _hurry = self.hurry();
        let limit = self.shared.config.max_block;
        tokio::select! {
            biased;
            room = self.shared.memory.acquire_many(permits(size)) => {
                room.map_err(|_| closed(record))?.forget();
                Ok(())
            }
            () = self.context.sleep(limit) => {
                let limit_bytes = self.shared.config.buffer_memory;
                Err(SendError::BufferFull { record: Unsent::of(record), limit: limit_bytes, waited: limit })
            }
        }
    }

    pub(super) async fn flush(&self, deadline: Duration) -> Result<(), SendError> {
        let _hurry = self.hurry();
        let mut settled = self.shared.topics.settled();
        tokio::select! {
            biased;
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
        self.tell(Command::Hurry);
        Hurry { hurried: &self.shared.hurried }
    }

    fn tell(&self, command: Command) {
        // A sender that has ended has failed everything, and `append` sees it.
        let _ = self.commands.send(command);
    }
}

/// `check_size` has seen to it that it is one.
fn permits(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}

fn closed(record: &Outgoing<'_>) -> SendError {
    SendError::Closed { record: Unsent::of(record), doubtful: false }
}

/// Buffer memory that is given back unless a batch takes it over.
struct Charged<'a> {
    memory: &'a Semaphore,
    size: usize,
}

impl Drop for Charged<'_> {
    fn drop(&mut self) {
        self.memory.add_permits(self.size);
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
