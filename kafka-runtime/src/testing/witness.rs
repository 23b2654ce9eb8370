//! What handlers were given, and what came of it.
//!
//! The application under test has a [`Witness`] among its states; where there is one, a listener is bound to
//! [`Watched`] around its handler instead of the handler. Without one nothing is different, and nothing is looked at.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use kafka_client::TopicPartition;
use kafka_client::records::Record;
use serde::de::DeserializeOwned;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::simulation::{Chaos, Mischief};
use crate::listener::{
    BatchDelivery, BatchFailure, BatchHandler, Delivery, Failure, Handler, Preparation, Prepared, Slot,
};

/// What came of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fate {
    /// The handler is at it.
    Running,
    /// It returned successfully.
    Done,
    /// It returned an error, or its arguments could not be made: the words of it.
    Failed(String),
    /// It panicked.
    Panicked,
    /// It was dropped before its end: its partition was given away, or the application stopped.
    Cancelled,
}

/// A record, given to a handler once.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Handling {
    /// The listener's id.
    pub listener: &'static str,
    /// Which instance of the application, in a simulation; 0 otherwise.
    pub instance: u32,
    /// The record's topic and partition.
    pub partition: TopicPartition,
    /// Its offset.
    pub offset: i64,
    /// Its key; `None` is null.
    pub key: Option<Bytes>,
    /// Its value; `None` is a tombstone.
    pub value: Option<Bytes>,
    /// The try, from 1.
    pub attempt: u32,
    /// What came of it.
    pub fate: Fate,
    /// When the handler was called.
    pub began: Instant,
    /// When it ended; `None` while it runs.
    pub ended: Option<Instant>,
}

impl Handling {
    /// The value, as a payload of this type reads it: text for `String`, bytes for `Vec<u8>`, everything else from JSON. A
    /// tombstone is `null`.
    ///
    /// # Panics
    /// It is no `T`.
    #[must_use]
    pub fn read<T: DeserializeOwned>(&self) -> T {
        crate::template::value::decode(self.value.as_deref())
            .unwrap_or_else(|error| panic!("{} at offset {}: {error}", self.partition, self.offset))
    }

    /// Whether it failed: an error or a panic.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        matches!(self.fate, Fate::Failed(_) | Fate::Panicked)
    }
}

/// All handlings of an application. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Witness {
    log: Arc<Log>,
    /// Who handles.
    instance: u32,
    /// What a simulation does to handlers.
    chaos: Option<Chaos>,
}

#[derive(Debug, Default)]
struct Log {
    seen: Mutex<Vec<Handling>>,
    changed: Notify,
}

impl Witness {
    /// One that does mischief to the handlers that it watches.
    pub(super) fn with_chaos(chaos: Chaos) -> Self {
        Self { chaos: Some(chaos), ..Self::default() }
    }

    /// The same, for another instance of the application.
    pub(super) fn of_instance(&self, instance: u32) -> Self {
        Self { instance, ..self.clone() }
    }

    fn seen(&self) -> MutexGuard<'_, Vec<Handling>> {
        self.log.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those that `wanted` picks, in the order in which handlers were called.
    pub(crate) fn pick(&self, wanted: impl Fn(&Handling) -> bool) -> Vec<Handling> {
        self.seen().iter().filter(|handling| wanted(handling)).cloned().collect()
    }

    /// Waits until `count` are among those that `wanted` picks.
    pub(crate) async fn at_least(&self, count: usize, wanted: impl Fn(&Handling) -> bool) -> Vec<Handling> {
        loop {
            let changed = self.log.changed.notified();
            let found = self.pick(&wanted);
            if found.len() >= count {
                return found;
            }
            changed.await;
        }
    }

    /// Waits until so many different records were handled successfully.
    pub(super) async fn all_done(&self, records: usize) {
        let mut done = HashSet::new();
        let mut looked = 0;
        loop {
            let changed = self.log.changed.notified();
            {
                let seen = self.seen();
                // What ran at the last look may have ended since.
                let from = seen.iter().skip(looked).position(|one| one.fate == Fate::Running);
                let settled = seen.iter().skip(looked).filter(|one| one.fate == Fate::Done);
                done.extend(settled.map(|one| (one.partition, one.offset)));
                looked = from.map_or(seen.len(), |from| looked + from);
            }
            if done.len() >= records {
                return;
            }
            changed.await;
        }
    }

    /// Does to a handler what a simulation has planned.
    async fn mischief(&self, partition: TopicPartition, offset: i64, attempt: u32) -> Result<(), Failure> {
        match self.chaos.and_then(|chaos| chaos.strike(partition.partition, offset, attempt)) {
            None => Ok(()),
            Some(Mischief::Slow(time)) => {
                tokio::time::sleep(time).await;
                Ok(())
            }
            Some(Mischief::Fail) => Err(Failure::Handler("simulated failure".into())),
            // As a panic, without its message on the terminal.
            Some(Mischief::Panic) => std::panic::resume_unwind(Box::new("simulated panic")),
        }
    }

    fn begin(&self, delivery: &Given<'_>) -> usize {
        let copy = |bytes: Option<&[u8]>| bytes.map(Bytes::copy_from_slice);
        let Record { offset, key, value, .. } = delivery.record;
        let handling = Handling {
            listener: delivery.listener,
            instance: self.instance,
            partition: delivery.partition,
            offset,
            key: copy(key),
            value: copy(value),
            attempt: delivery.attempt,
            fate: Fate::Running,
            began: Instant::now(),
            ended: None,
        };
        let mut seen = self.seen();
        seen.push(handling);
        seen.len() - 1
    }

    fn end(&self, index: usize, fate: Fate) {
        if let Some(handling) = self.seen().get_mut(index) {
            handling.fate = fate;
            handling.ended = Some(Instant::now());
        }
        self.log.changed.notify_waiters();
    }
}

/// What a handler is given of one record.
struct Given<'r> {
    record: Record<'r>,
    partition: TopicPartition,
    listener: &'static str,
    attempt: u32,
}

/// Handlings that have begun. Those that have not ended when this is dropped end with it: the handler panicked, or was
/// dropped.
struct Open {
    witness: Witness,
    indices: VecDeque<usize>,
}

impl Open {
    fn new<'r>(witness: &Witness, given: impl Iterator<Item = Given<'r>>) -> Self {
        Self { witness: witness.clone(), indices: given.map(|given| witness.begin(&given)).collect() }
    }

    /// The next one has ended so.
    fn end(&mut self, fate: Fate) {
        if let Some(index) = self.indices.pop_front() {
            self.witness.end(index, fate);
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let fate = if std::thread::panicking() { Fate::Panicked } else { Fate::Cancelled };
        while !self.indices.is_empty() {
            self.end(fate.clone());
        }
    }
}

fn words(failure: &Failure) -> Fate {
    match failure {
        Failure::Handler(error) => Fate::Failed(error.to_string()),
        Failure::Decode(problem) => Fate::Failed(problem.clone()),
        Failure::Panic(_) => Fate::Panicked,
        #[allow(unreachable_patterns)]
        other => Fate::Failed(format!("{other:?}")),
    }
}

/// A handler, watched.
pub(crate) struct Watched<H>(H);

/// Prepares `H`, with the witness in the slot behind its own.
fn prepare(prepare: fn(&mut Preparation<'_>) -> Prepared, preparation: &mut Preparation<'_>) -> Prepared {
    let mut prepared = prepare(preparation);
    prepared.slots.extend(preparation.state::<Witness>().map(|witness| Slot::new((*witness).clone())));
    prepared
}

fn witness(prepared: &Prepared) -> Option<&Witness> {
    prepared.slots.last().and_then(Slot::get)
}

impl<H: Handler> Handler for Watched<H> {
    fn prepare(preparation: &mut Preparation<'_>) -> Prepared {
        prepare(H::prepare, preparation)
    }

    async fn call<'r>(prepared: &'r Prepared, delivery: &'r Delivery<'r>) -> Result<(), Failure> {
        let Some(witness) = witness(prepared) else { return H::call(prepared, delivery).await };
        let Delivery { record, partition, listener, attempt, .. } = *delivery;
        let mut open = Open::new(witness, [Given { record, partition, listener, attempt }].into_iter());
        let result = match witness.mischief(partition, record.offset, attempt).await {
            Ok(()) => H::call(prepared, delivery).await,
            Err(failure) => Err(failure),
        };
        open.end(result.as_ref().err().map_or(Fate::Done, words));
        result
    }
}

impl<H: BatchHandler> BatchHandler for Watched<H> {
    fn prepare(preparation: &mut Preparation<'_>) -> Prepared {
        prepare(H::prepare, preparation)
    }

    async fn call<'r>(prepared: &'r Prepared, delivery: BatchDelivery<'r>) -> Result<(), BatchFailure> {
        let Some(witness) = witness(prepared) else { return H::call(prepared, delivery).await };
        let BatchDelivery { records, partition, listener, attempt, .. } = delivery;
        let given = records.iter().map(|(record, _)| Given { record: *record, partition, listener, attempt });
        let mut open = Open::new(witness, given);
        let first = records.first().map_or(0, |(record, _)| record.offset);
        let result = match witness.mischief(partition, first, attempt).await {
            Ok(()) => H::call(prepared, delivery).await,
            Err(failure) => Err(BatchFailure { index: 0, failure }),
        };
        let done = result.as_ref().err().map_or(records.len(), |failed| failed.index);
        for _ in 0..done {
            open.end(Fate::Done);
        }
        if let Err(failed) = &result {
            let fate = words(&failed.failure);
            while !open.indices.is_empty() {
                open.end(fate.clone());
            }
        }
        result
    }
}
