//! The loop over a batch, for handlers of one record: static per record, boxed once per batch.
//!
//! Per record: no allocation, no lock, no task, no count of an `Arc`. The handler's future is pinned here; if its
//! first poll is ready, as it is for a handler that has nothing to wait for, nothing else happens.

use std::any::Any;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use kafka_client::TopicPartition;
use kafka_client::consumer::ChunkBatch;
use kafka_client::records::Record;
use tokio::time::{Instant, Sleep};

use super::forward::Exit;
use super::lane::{End, Lane, Verdict};
use super::recovery::Failed;
use super::transact::Tried;
use super::work::Span;
use crate::listener::{Delivery, Failure, Handler, Prepared};

/// Hands each record of the span to the handler, as the lane lets it.
pub(crate) async fn drive<H: Handler>(prepared: &Prepared, span: Span<'_>, lane: &mut Lane) -> End {
    let mut next = span.from;
    for batch in span.batches {
        for record in batch.records() {
            let record = match record {
                Ok(record) => record,
                Err(error) => return lane.unreadable(next, &error.to_string()),
            };
            if record.offset < span.from {
                continue;
            }
            if span.to.is_some_and(|to| record.offset > to) {
                return End::Done;
            }
            next = record.offset + 1;
            if span.work.recovery.is_of_retries()
                && let Some(end) = lane.until_due(&record).await
            {
                return end;
            }
            while !lane.take(record.offset, 1) {
                if let Some(end) = lane.pause(record.offset, 1).await {
                    return end;
                }
            }
            let delivery = delivery(&span, batch, record, lane.partition());
            if !wanted(|| H::keeps(&delivery)) {
                lane.filtered(1);
                continue;
            }
            lane.deliver(record.offset, record.offset);
            let failed = match lane.failed_before(record.offset) {
                None => first::<H>(prepared, &delivery, span.exit, lane).await.err(),
                failed => failed,
            };
            if let Some(tried) = failed
                && let Some(end) = again::<H>(prepared, &delivery, tried, span.exit, lane).await
            {
                return end;
            }
        }
        if span.to.is_none() {
            lane.pass_to(batch.next_offset());
        }
    }
    End::Done
}

fn delivery<'r>(
    span: &Span<'r>,
    batch: &'r ChunkBatch,
    record: Record<'r>,
    partition: TopicPartition,
) -> Delivery<'r> {
    let Span { work, attempt, issuer: acks, exit, .. } = *span;
    let outbox = exit.map(|exit| &exit.outbox);
    let attempt = match work.recovery.is_of_retries() {
        true => attempt + (work.recovery.delivery_of(record.headers) - 1),
        false => attempt,
    };
    Delivery { record, batch, partition, listener: work.id, attempt, acks, outbox, tx: None }
}

/// The first try. The transaction is let go of with it.
#[inline]
async fn first<H: Handler>(
    prepared: &Prepared,
    delivery: &Delivery<'_>,
    exit: Option<&Exit>,
    lane: &mut Lane,
) -> Result<(), Tried> {
    let tx = lane.tx();
    let within;
    let delivery = match tx.as_deref() {
        None => delivery,
        tx => {
            within = Delivery { tx, ..*delivery };
            &within
        }
    };
    let called = call::<H>(prepared, delivery, exit, lane).await;
    called.map_err(|failure| Tried { failure, attempt: delivery.attempt, since: Instant::now() })
}

/// Calls the handler, and sends on what it returns.
#[inline]
async fn call<H: Handler>(
    prepared: &Prepared,
    delivery: &Delivery<'_>,
    exit: Option<&Exit>,
    lane: &mut Lane,
) -> Result<(), Failure> {
    let handled = guarded(lane, 1, || H::call(prepared, delivery), |failure| failure).await;
    let Some(exit) = exit else { return handled };
    if handled.is_err() {
        exit.discard();
        return handled;
    }
    exit.send(delivery.acks, delivery.tx).await.map_err(|(_, failure)| failure)
}

/// The way of a record that failed: tries until it succeeds or the policy has its last word. `Some` ends the batch.
#[cold]
async fn again<H: Handler>(
    prepared: &Prepared,
    delivery: &Delivery<'_>,
    mut tried: Tried,
    exit: Option<&Exit>,
    lane: &mut Lane,
) -> Option<End> {
    let Delivery { record, batch, partition, .. } = *delivery;
    let offset = record.offset;
    loop {
        if !lane.take_back(offset) {
            // It was acknowledged before the handler failed, and that is the word that counts.
            return None;
        }
        tried = match lane.roll_back(offset, tried, 1).await {
            Ok(tried) => tried,
            Err(end) => return Some(end),
        };
        let tx = lane.tx();
        let Tried { ref failure, ref mut attempt, since } = tried;
        let failed = Failed { record, batch, partition, attempt: *attempt, since, tx: tx.as_deref() };
        let mut is_held_up = false;
        match lane.failed(&failed, failure, 1).await {
            Verdict::Retry => *attempt += 1,
            Verdict::Again => is_held_up = true,
            Verdict::Skip => {
                lane.settle_by_policy(offset);
                lane.commit_soon();
                return None;
            }
            Verdict::End(end) => return Some(end),
        }
        lane.deliver(offset, offset);
        let delivery = Delivery { attempt: *attempt, tx: tx.as_deref(), ..*delivery };
        match call::<H>(prepared, &delivery, exit, lane).await {
            Ok(()) => {
                lane.recovered();
                lane.commit_soon();
                return None;
            }
            Err(failure) => tried.failure = failure,
        }
        if is_held_up {
            // The time that it is tried for begins anew, too.
            tried.since = Instant::now();
        }
    }
}

/// What a listener's filter says. One that panics has not said no: the handler sees the record.
#[inline]
pub(super) fn wanted(keeps: impl FnOnce() -> bool) -> bool {
    catch_unwind(AssertUnwindSafe(keeps)).unwrap_or(true)
}

/// Calls a handler for the `records` in hand, see [`caught`].
pub(super) async fn guarded<F, E>(
    lane: &mut Lane,
    records: u64,
    call: impl FnOnce() -> F,
    failed: impl Fn(Failure) -> E,
) -> Result<(), E>
where
    F: Future<Output = Result<(), E>>,
{
    let limit = lane.work.settings.handler_timeout;
    caught(call, failed, || lane.handler_waits(records), limit).await
}

/// Calls a handler. A panic in it is a failure like others, and so is time that runs out (`limit`, from when it first has
/// to wait): it is dropped where it waits then. `waits` is called once, when it first has to wait.
pub(super) async fn caught<F, E>(
    call: impl FnOnce() -> F,
    failed: impl Fn(Failure) -> E,
    waits: impl FnOnce(),
    limit: Option<Duration>,
) -> Result<(), E>
where
    F: Future<Output = Result<(), E>>,
{
    let panicked = |panic: &(dyn Any + Send)| failed(Failure::Panic(message(panic)));
    let future = match catch_unwind(AssertUnwindSafe(call)) {
        Ok(future) => future,
        Err(panic) => return Err(panicked(&*panic)),
    };
    let (mut future, mut time_is_over) = (pin!(future), pin!(None::<Sleep>));
    let mut waits = Some(waits);
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
        Ok(Poll::Pending) => {
            if let Some(waits) = waits.take() {
                waits();
                time_is_over.set(limit.map(tokio::time::sleep));
            }
            match (limit, time_is_over.as_mut().as_pin_mut().map(|time| time.poll(context))) {
                (Some(limit), Some(Poll::Ready(()))) => Poll::Ready(Err(failed(Failure::Timeout(limit)))),
                _ => Poll::Pending,
            }
        }
        Ok(ready) => ready,
        Err(panic) => Poll::Ready(Err(panicked(&*panic))),
    })
    .await
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("no message").to_owned()
}
