//! Many records at once, each with its own result.

use futures_util::stream::{Stream, StreamExt};

use super::{Record, RecordMetadata, Result, Template};

/// How many records of a stream may wait for their result.
const UNDER_WAY: usize = 10_000;

impl Template {
    /// Sends records in their order and waits for all of them: the results, in the same order. One that fails does not
    /// hold up the others.
    pub async fn send_all(&self, records: impl IntoIterator<Item = Record>) -> Vec<Result<RecordMetadata>> {
        let mut pending = Vec::new();
        for record in records {
            pending.push(self.enqueue_record(record).await);
        }
        let mut results = Vec::with_capacity(pending.len());
        for one in pending {
            results.push(match one {
                Ok(pending) => pending.await,
                Err(error) => Err(error),
            });
        }
        results
    }

    /// Sends the records of a stream in their order; the results come in the same order. It takes from the stream as
    /// long as there is room in the producer's buffer, and at most 10,000 records ahead of the result that comes next.
    ///
    /// ```no_run
    /// # use kafka_runtime::prelude::*;
    /// # use futures_util::{StreamExt, stream};
    /// # async fn example(template: Template) {
    /// let numbers = stream::iter(0..1000).map(|n: u32| Record::to("numbers").key(n).text(n.to_string()));
    /// let failed = template.send_stream(numbers).filter(|sent| std::future::ready(sent.is_err())).count().await;
    /// # }
    /// ```
    pub fn send_stream<'t>(
        &'t self,
        records: impl Stream<Item = Record> + 't,
    ) -> impl Stream<Item = Result<RecordMetadata>> + 't {
        let enqueued = records.then(move |record| self.enqueue_record(record));
        enqueued.map(async |pending| pending?.await).buffered(UNDER_WAY)
    }
}
