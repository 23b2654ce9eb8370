//! Many records at once, each with its own result.

use futures_util::stream::{Stream, StreamExt};

use super::intercept::Interceptors;
use super::lines::{Enqueued, Lines, Way};
use super::{Inner, Record, RecordMetadata, Result, Template};

/// How many records of a stream may wait for their result.
const UNDER_WAY: usize = 10_000;

impl Template {
    /// Sends records and waits for all of them: the results, in the order of the records. Those of a topic are sent in their
    /// order, and one that fails does not hold up the others. When a topic was not found within `max.block.ms`, the records
    /// that waited for it behind the first fail with it.
    pub async fn send_all(&self, records: impl IntoIterator<Item = Record>) -> Vec<Result<RecordMetadata>> {
        let Inner { producer, interceptors, buffer_memory, .. } = &*self.0;
        send_all(Way::Alone(producer), interceptors, *buffer_memory, records).await
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

/// `limit`: how many bytes may wait beside the producer's buffer.
pub(super) async fn send_all(
    way: Way<'_>,
    interceptors: &Interceptors,
    limit: usize,
    records: impl IntoIterator<Item = Record>,
) -> Vec<Result<RecordMetadata>> {
    let (mut lines, mut waiting) = (Lines::new(way), 0);
    let mut pending = Vec::new();
    let mut through = |Enqueued { mut record, of, delivery }: Enqueued<usize>| {
        let size = record.size();
        pending.push((of, interceptors.after(&mut record, delivery)));
        size
    };
    for (mut record, place) in records.into_iter().zip(0..) {
        interceptors.before(&mut record);
        let size = record.size();
        match lines.offer(record, place) {
            Some(enqueued) => _ = through(enqueued),
            None => waiting += size,
        }
        while waiting > limit
            && let Some(enqueued) = lines.next().await
        {
            waiting -= through(enqueued);
        }
    }
    while let Some(enqueued) = lines.next().await {
        through(enqueued);
    }
    pending.sort_unstable_by_key(|(place, _)| *place);
    let mut results = Vec::with_capacity(pending.len());
    for (_, one) in pending {
        results.push(match one {
            Ok(pending) => pending.await,
            Err(error) => Err(error),
        });
    }
    results
}
