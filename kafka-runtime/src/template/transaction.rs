//! Transactions of the template: what is sent in them, and their work.

use std::error::Error as StdError;
use std::fmt;

use kafka_client::consumer::{GroupMetadata, Offsets};
use kafka_client::producer::{Transaction, TransactionError, TransactionalProducer};
use serde::Serialize;

use super::lines::Way;
use super::many::send_all;
use super::{AsKey, Destination, Pending, Record, RecordMetadata, Result, Template, TemplateError};

/// A transaction: of [`Template::in_transaction`], or the one that a transactional listener's records are handled in
/// (`#[kafka_listener(.., transactional)]`, argument `tx: &Tx`). It sends as the template does, seen by readers of
/// committed records when it is committed, or never.
pub struct Tx {
    transaction: Transaction,
    template: Template,
}

impl fmt::Debug for Tx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tx").field(&self.transaction.id()).finish()
    }
}

impl Tx {
    /// As [`Template::send`]. (The commit waits for every record, so there is no need to wait for each.)
    ///
    /// # Errors
    /// As [`Template::send`]; the transaction cannot be committed then.
    pub async fn send<K: AsKey, V: Serialize + ?Sized>(
        &self,
        topic: impl Destination<V>,
        key: K,
        value: &V,
    ) -> Result<RecordMetadata> {
        self.send_record(Record::encoded(topic.topic(), key, value)?).await
    }

    /// As [`Template::send_default`].
    ///
    /// # Errors
    /// None is set, or as [`Tx::send`].
    pub async fn send_default<K: AsKey, V: Serialize + ?Sized>(
        &self,
        key: K,
        value: &V,
    ) -> Result<RecordMetadata> {
        let topic = self.template.0.default_topic.ok_or(TemplateError::NoDefaultTopic)?;
        self.send_record(Record::encoded(topic, key, value)?).await
    }

    /// As [`Template::send_text`].
    ///
    /// # Errors
    /// As [`Tx::send`].
    pub async fn send_text<K: AsKey>(
        &self,
        topic: impl AsRef<str>,
        key: K,
        text: &str,
    ) -> Result<RecordMetadata> {
        self.send_record(Record::to(topic).key(key).text(text)).await
    }

    /// As [`Template::send_bytes`].
    ///
    /// # Errors
    /// As [`Tx::send`].
    pub async fn send_bytes<K: AsKey>(
        &self,
        topic: impl AsRef<str>,
        key: K,
        bytes: impl Into<Vec<u8>>,
    ) -> Result<RecordMetadata> {
        self.send_record(Record::to(topic).key(key).bytes(bytes)).await
    }

    /// As [`Template::send_tombstone`].
    ///
    /// # Errors
    /// As [`Tx::send`].
    pub async fn send_tombstone<K: AsKey>(&self, topic: impl AsRef<str>, key: K) -> Result<RecordMetadata> {
        self.send_record(Record::to(topic).key(key)).await
    }

    /// As [`Template::send_all`]. Once one of them was refused by a broker, those behind it are in no transaction.
    pub async fn send_all(&self, records: impl IntoIterator<Item = Record>) -> Vec<Result<RecordMetadata>> {
        let inner = &*self.template.0;
        send_all(Way::In(&self.transaction), &inner.interceptors, inner.buffer_memory, records).await
    }

    /// As [`Template::send_record`].
    ///
    /// # Errors
    /// As [`Tx::send`].
    pub async fn send_record(&self, mut record: Record) -> Result<RecordMetadata> {
        self.template.0.interceptors.before(&mut record);
        let delivery = {
            let headers = record.header_views();
            self.transaction.enqueue_awaited(record.outgoing(&headers)).await
        };
        self.template.0.interceptors.after(&mut record, delivery)?.await
    }

    /// As [`Template::enqueue`]: what becomes of the record shows in the commit as well.
    ///
    /// # Errors
    /// What can be said before it is sent.
    pub async fn enqueue<K: AsKey, V: Serialize + ?Sized>(
        &self,
        topic: impl Destination<V>,
        key: K,
        value: &V,
    ) -> Result<Pending> {
        self.enqueue_record(Record::encoded(topic.topic(), key, value)?).await
    }

    /// As [`Template::enqueue_record`].
    ///
    /// # Errors
    /// As [`Tx::enqueue`].
    pub async fn enqueue_record(&self, mut record: Record) -> Result<Pending> {
        self.template.0.interceptors.before(&mut record);
        let delivery = {
            let headers = record.header_views();
            self.transaction.enqueue(record.outgoing(&headers)).await
        };
        self.template.0.interceptors.after(&mut record, delivery)
    }

    /// Makes the offsets of a consumer part of the transaction; see
    /// [`Transaction::send_offsets`](kafka_client::producer::Transaction::send_offsets).
    ///
    /// # Errors
    /// The transaction cannot be committed any more.
    pub async fn send_offsets(&self, offsets: Offsets, group: GroupMetadata) -> Result<()> {
        Ok(self.transaction.send_offsets(offsets, group).await?)
    }

    /// A transaction of `template`'s, for whoever commits it.
    pub(crate) fn of(transaction: Transaction, template: Template) -> Self {
        Self { transaction, template }
    }

    /// The client's own, for what is no business of interceptors.
    pub(crate) fn transaction(&self) -> &Transaction {
        &self.transaction
    }

    /// To end it.
    pub(crate) fn into_transaction(self) -> Transaction {
        self.transaction
    }
}

/// Why the work of a transaction failed, so that it is aborted: any error becomes one by `?`. A transactional listener may
/// return it; its sorts of errors (`retry(only = ..)`) are found in it as in a boxed error.
pub struct TxError(Box<dyn StdError + Send + Sync>);

impl<E: Into<Box<dyn StdError + Send + Sync>>> From<E> for TxError {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl TxError {
    /// The error that it was made from.
    #[must_use]
    pub fn into_source(self) -> Box<dyn StdError + Send + Sync> {
        self.0
    }
}

impl fmt::Debug for TxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for TxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl Template {
    /// A producer of its own for transactions, under the id prefix, with the template's settings.
    pub(crate) fn transactional_producer(&self, name: &str) -> Result<TransactionalProducer> {
        self.transactions().ok_or(TemplateError::NoTransactionIdPrefix)?.producer(name)
    }

    /// Does `work` in a transaction: commits when it returns `Ok`, aborts when it returns an error, panics or is dropped.
    /// `read_committed` readers see all of its records or none. Needs `spring.kafka.producer.transaction-id-prefix`, which
    /// no two processes may share.
    ///
    /// ```no_run
    /// # use kafka_runtime::prelude::*;
    /// # #[derive(Serialize)] struct Order;
    /// # async fn example(template: Template, order: Order) -> Result<(), TemplateError> {
    /// let offset = template
    ///     .in_transaction(async |tx| {
    ///         tx.send("audit", (), "an order came").await?;
    ///         Ok(tx.send("orders", "c1", &order).await?.offset)
    ///     })
    ///     .await?;
    /// # Ok(()) }
    /// ```
    ///
    /// Transactions that run at once have a producer each. One that failed can be done again when
    /// [`TemplateError::remedy`] says so.
    ///
    /// # Errors
    /// What `work` returned ([`TemplateError::Work`]); why it could not be begun or committed
    /// ([`TemplateError::Transaction`]); the template is closed ([`TemplateError::Closed`]).
    pub async fn in_transaction<T, F>(&self, work: F) -> Result<T>
    where
        F: AsyncFnOnce(&Tx) -> Result<T, TxError>,
    {
        let Some(pool) = self.transactions() else { return Err(TemplateError::NoTransactionIdPrefix) };
        let (mut lease, transaction) = pool.begin().await?;
        let tx = Tx { transaction, template: self.clone() };
        let done = work(&tx).await;
        let ended = match &done {
            Ok(_) => tx.transaction.commit().await,
            Err(_) => tx.transaction.abort().await,
        };
        if let Err(error) = &ended {
            lease.heed(error);
        }
        match (done, ended) {
            (Ok(done), Ok(())) => Ok(done),
            // A zombie has to know that it is one, whatever its work met first.
            (_, Err(error)) if error.is_fenced() => Err(error.into()),
            (Err(TxError(source)), _) => Err(TemplateError::Work { source }),
            (Ok(_), Err(error)) => Err(error.into()),
        }
    }
}

impl From<TransactionError> for TemplateError {
    fn from(error: TransactionError) -> Self {
        Self::Transaction(error)
    }
}
