//! Calls generated handlers without a container: the macro is told that its crate is [`kafka`], whose `Bound` keeps the
//! handler, and whose registry is not the program's.

use std::any::Any;
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use kafka_client::TopicPartition;
use kafka_client::config::Compression;
use kafka_client::consumer::ChunkBatch;
use kafka_client::records::encode::{BatchBuilder, ProducerStamp, RecordToWrite};
use kafka_client::records::{Batches, Record};

use crate::listener::handler::{Prepared, States};
use crate::listener::{
    Attributes, BatchDelivery, BatchFailure, BatchHandler, Delivery, Failure, Handler, Preparation,
    SourceLocation, State,
};

/// What `crate = "crate::listener::tests::kafka"` finds.
pub(crate) mod kafka {
    pub(crate) mod __private {
        pub(crate) use super::super::{Bound, ListenerDescriptor};
        pub(crate) use crate::__private::*;
    }
}

type Calling<'r, F> = Pin<Box<dyn Future<Output = Result<(), F>> + Send + 'r>>;
type Call<T, F> = fn(&'static Prepared, T) -> Calling<'static, F>;

/// A handler as the test calls it. What it borrows is leaked: tests are short.
pub(crate) enum Bound {
    Single(Prepared, Call<Delivery<'static>, Failure>),
    Batch(Prepared, Call<BatchDelivery<'static>, BatchFailure>),
}

impl Bound {
    pub(crate) fn single<H: Handler>(preparation: &mut Preparation<'_>) -> Self {
        Self::Single(H::prepare(preparation), |prepared, delivery| {
            Box::pin(async move { H::call(prepared, &delivery).await })
        })
    }
    pub(crate) fn batch<H: BatchHandler>(preparation: &mut Preparation<'_>) -> Self {
        Self::Batch(H::prepare(preparation), |prepared, delivery| Box::pin(H::call(prepared, delivery)))
    }
}

#[allow(dead_code)]
pub(crate) struct ListenerDescriptor {
    pub(crate) id: &'static str,
    pub(crate) function: &'static str,
    pub(crate) location: SourceLocation,
    pub(crate) attributes: Attributes,
    pub(crate) batch: bool,
    pub(crate) takes_ack: bool,
    pub(crate) takes_tx: bool,
    pub(crate) error_type: fn() -> Option<&'static str>,
    pub(crate) bind: fn(&mut Preparation<'_>) -> Bound,
}

inventory::collect!(ListenerDescriptor);

/// What a handler saw.
#[derive(Default)]
pub(crate) struct Seen(Mutex<Vec<String>>);

impl Seen {
    pub(crate) fn note(&self, what: impl Into<String>) {
        self.0.lock().unwrap().push(what.into());
    }
}

/// A record to be delivered.
#[derive(Clone, Copy)]
pub(crate) struct Sent {
    pub(crate) key: Option<&'static [u8]>,
    pub(crate) value: Option<&'static [u8]>,
    pub(crate) headers: &'static [(&'static str, Option<&'static [u8]>)],
}

/// A record with this value, without key and headers.
pub(crate) fn value(value: &'static (impl AsRef<[u8]> + ?Sized)) -> Sent {
    Sent { key: None, value: Some(value.as_ref()), headers: &[] }
}

/// A tombstone.
pub(crate) const TOMBSTONE: Sent = Sent { key: None, value: None, headers: &[] };

/// The offset of the first record.
pub(crate) const FIRST: i64 = 42;

fn batch_of(records: &[Sent], base_offset: i64) -> &'static ChunkBatch {
    let mut builder = BatchBuilder::new(1024);
    for Sent { key, value, headers } in records {
        builder.append(RecordToWrite { timestamp: 1_700_000_000_000, key: *key, value: *value, headers });
    }
    let mut bytes = builder.build(Compression::None, ProducerStamp::NONE).unwrap().to_vec();
    // The broker's part: base offset and leader epoch, which the checksum does not cover.
    bytes[..8].copy_from_slice(&base_offset.to_be_bytes());
    bytes[12..16].copy_from_slice(&7i32.to_be_bytes());
    let batch = Batches::new(bytes.into(), true).next_batch().unwrap().unwrap();
    Box::leak(Box::new(ChunkBatch::from(batch)))
}

/// Batches of the wire, one after the other, as one delivery.
fn delivered(batches: &[&[Sent]]) -> &'static [(Record<'static>, &'static ChunkBatch)] {
    let mut records = Vec::new();
    for sent in batches {
        let next = FIRST + i64::try_from(records.len()).unwrap();
        let batch = batch_of(sent, next);
        records.extend(batch.records().map(|record| (record.unwrap(), batch)));
    }
    records.leak()
}

/// A listener of the tests, bound, and what it saw.
pub(crate) struct Running {
    bound: &'static Bound,
    seen: Arc<Seen>,
}

/// Binds the listener `id` with these states; what is missing is the error.
pub(crate) fn bind(
    id: &str,
    states: impl IntoIterator<Item = Arc<dyn Any + Send + Sync>>,
) -> Result<Running, Vec<String>> {
    let seen = Arc::new(Seen::default());
    let mut known: States = HashMap::new();
    known.insert((*seen).type_id(), seen.clone());
    known.extend(states.into_iter().map(|state| ((*state).type_id(), state)));
    let listener = inventory::iter::<ListenerDescriptor>.into_iter().find(|listener| listener.id == id);
    let mut preparation = Preparation::new(&known);
    let bound = (listener.unwrap().bind)(&mut preparation);
    match preparation.missing.is_empty() {
        true => Ok(Running { bound: Box::leak(Box::new(bound)), seen }),
        false => Err(preparation.missing),
    }
}

impl Running {
    /// Delivers one record.
    pub(crate) async fn record(&self, sent: Sent) -> Result<(), Failure> {
        let Bound::Single(prepared, call) = self.bound else { panic!("a batch listener") };
        let (record, batch) = delivered(&[&[sent]])[0];
        let partition = TopicPartition::new("orders", 3);
        call(
            prepared,
            Delivery {
                record,
                batch,
                partition,
                listener: "test",
                attempt: 2,
                acks: None,
                outbox: None,
                tx: None,
            },
        )
        .await
    }

    /// Delivers records of several batches of the wire at once.
    pub(crate) async fn batches(&self, sent: &[&[Sent]]) -> Result<(), BatchFailure> {
        let Bound::Batch(prepared, call) = self.bound else { panic!("a record listener") };
        let (records, partition) = (delivered(sent), TopicPartition::new("orders", 3));
        call(
            prepared,
            BatchDelivery {
                records,
                partition,
                listener: "test",
                attempt: 2,
                acks: None,
                outbox: None,
                tx: None,
            },
        )
        .await
    }

    /// What it saw since the last call.
    pub(crate) fn seen(&self) -> Vec<String> {
        std::mem::take(&mut *self.seen.0.lock().unwrap())
    }
}

/// Delivers one record to the listener `id`: what it saw.
pub(crate) async fn handled(id: &str, sent: Sent) -> Vec<String> {
    let running = bind(id, []).unwrap();
    running.record(sent).await.unwrap();
    running.seen()
}

/// Delivers one record that the listener `id` must not see: why.
pub(crate) async fn refused(id: &str, sent: Sent) -> String {
    let running = bind(id, []).unwrap();
    let failure = running.record(sent).await.unwrap_err();
    assert_eq!(running.seen(), [] as [&str; 0]);
    match failure {
        Failure::Decode(text) => text,
        other => panic!("{other:?}"),
    }
}

pub(crate) type Notes<'s> = &'s State<Seen>;
