//! The loop over batches, for handlers of many records at once.
//!
//! A handler that fails at an index has handled everything before it; what is before is settled, the rest is tried
//! again, from the record that failed.

use kafka_client::consumer::ChunkBatch;
use kafka_client::records::{Record, RecordError};
use tokio::time::Instant;

use super::drive::{guarded, wanted};
use super::lane::{End, Lane, Verdict};
use super::recovery::Failed;
use super::transact::Tried;
use super::work::Span;
use crate::listener::{BatchDelivery, BatchFailure, BatchHandler, Delivery, Failure, Prepared};

type One<'r> = (Record<'r>, &'r ChunkBatch);

/// Hands the span's records to the handler, at most `span.most` at once.
pub(crate) async fn drive_batches<H: BatchHandler>(
    prepared: &Prepared,
    span: Span<'_>,
    lane: &mut Lane,
) -> End {
    let (records, unreadable) = gather::<H>(&span, lane);
    for mut slice in slices(&records, span.most.max(1), lane.to_itself()) {
        while !slice.is_empty() {
            let part = match admit(slice, lane).await {
                Ok(part) => part,
                Err(end) => return end,
            };
            if let Some(end) = hand_over::<H>(prepared, &span, part, lane).await {
                return end;
            }
            slice = slice.get(part.len()..).unwrap_or_default();
        }
    }
    if let Some(error) = unreadable {
        let next = records.last().map_or(span.from, |(record, _)| record.offset + 1);
        return lane.unreadable(next, &error.to_string());
    }
    if let (None, Some(last)) = (span.to, span.batches.last()) {
        lane.pass_to(last.next_offset());
    }
    End::Done
}

/// At most `most` at once; a transaction that begins at `from` begins a slice.
fn slices<'a, 'r>(
    records: &'a [One<'r>],
    most: usize,
    from: Option<i64>,
) -> impl Iterator<Item = &'a [One<'r>]> {
    let before = from.map_or(0, |from| records.partition_point(|(record, _)| record.offset < from));
    let (before, after) = records.split_at(before);
    before.chunks(most).chain(after.chunks(most))
}

/// The span's records, up to the first that cannot be read.
fn gather<'r, H: BatchHandler>(span: &Span<'r>, lane: &mut Lane) -> (Vec<One<'r>>, Option<RecordError>) {
    let expected = span.batches.iter().map(|batch| batch.batch().header().record_count.max(0));
    let expected =
        expected.fold(0usize, |sum, count| sum.saturating_add(usize::try_from(count).unwrap_or(0)));
    // The count is the sender's word: it reserves no more than a few slices.
    let mut records = Vec::with_capacity(expected.min(span.most.saturating_mul(4)));
    for batch in span.batches {
        for record in batch.records() {
            match record {
                Ok(record) if record.offset < span.from => {}
                Ok(record) if span.to.is_some_and(|to| record.offset > to) => return (records, None),
                Ok(record) if is_wanted::<H>(span, record, batch, lane) => records.push((record, batch)),
                Ok(_) => lane.filtered(0),
                Err(error) => return (records, Some(error)),
            }
        }
    }
    (records, None)
}

fn is_wanted<H: BatchHandler>(span: &Span<'_>, record: Record<'_>, batch: &ChunkBatch, lane: &Lane) -> bool {
    let (partition, listener) = (lane.partition(), span.work.id);
    let delivery = Delivery {
        record,
        batch,
        partition,
        listener,
        attempt: span.attempt,
        acks: None,
        outbox: None,
        tx: None,
    };
    wanted(|| H::keeps(&delivery))
}

/// Takes the slice, or as much of it as may be handed over now.
async fn admit<'a, 'r>(slice: &'a [One<'r>], lane: &mut Lane) -> Result<&'a [One<'r>], End> {
    let Some((first, _)) = slice.first() else { return Ok(slice) };
    loop {
        let part = slice.get(..lane.cut(slice.len())).unwrap_or(slice);
        if lane.take(first.offset, length(part)) {
            return Ok(part);
        }
        if let Some(end) = lane.pause(first.offset, lane.wish(length(slice))).await {
            return Err(end);
        }
    }
}

/// What was taken, until it is settled. `Some` ends the span.
async fn hand_over<H: BatchHandler>(
    prepared: &Prepared,
    span: &Span<'_>,
    mut rest: &[One<'_>],
    lane: &mut Lane,
) -> Option<End> {
    let mut attempt = span.attempt;
    loop {
        match until_settled::<H>(prepared, span, rest, attempt, lane).await {
            Settled::All => return None,
            Settled::Skip(left) => {
                let (skipped, _) = left.first()?;
                rest = left.get(1..).unwrap_or_default();
                let next = rest.first().map_or(skipped.offset + 1, |(next, _)| next.offset);
                lane.part_done(1, next);
                lane.split(skipped.offset);
                lane.settle_by_policy(skipped.offset);
                lane.give_back(length(rest));
                lane.commit_soon();
                attempt = 1;
                let (first, _) = rest.first()?;
                while !lane.take(first.offset, length(rest)) {
                    // It has been handed over: it waits for no room, and goes before what has to go again.
                    if let Some(end) = lane.pause(first.offset, 0).await {
                        return Some(end);
                    }
                }
            }
            Settled::End(end) => return Some(end),
        }
    }
}

enum Settled<'a, 'r> {
    All,
    /// The first of these is to be passed over, the others are open.
    Skip(&'a [One<'r>]),
    End(End),
}

/// Calls the handler for what was taken, again and again for what is not handled.
async fn until_settled<'a, 'r, H: BatchHandler>(
    prepared: &Prepared,
    span: &Span<'_>,
    mut rest: &'a [One<'r>],
    mut attempt: u32,
    lane: &mut Lane,
) -> Settled<'a, 'r> {
    let mut one_by_one = false;
    let mut since = Instant::now();
    // What held up the last try does not count, nor does its time.
    let mut is_held_up = false;
    loop {
        let now = rest.get(..1).filter(|_| one_by_one).unwrap_or(rest);
        let Some((last, _)) = now.last() else { return Settled::All };
        let outcome = match rest.first().and_then(|(first, _)| lane.failed_before(first.offset)) {
            None => call::<H>(prepared, span, (now, rest), attempt, lane).await,
            Some(tried) => {
                attempt = tried.attempt;
                Err(BatchFailure { index: 0, failure: tried.failure })
            }
        };
        let Err(mut failed) = outcome else {
            rest = advance(rest, now.len(), false, lane);
            let Some((next, _)) = rest.first() else { break };
            // One by one, each for itself.
            if let Some(end) = lane.commit_before(next.offset, length(rest)).await {
                return Settled::End(end);
            }
            continue;
        };
        // An index behind the end would mean that nothing failed; something did.
        let done = failed.index.min(now.len() - 1);
        let at = now.get(done).map_or(last.offset, |(record, _)| record.offset);
        let tried = Tried { failure: failed.failure, attempt: if done > 0 { 1 } else { attempt }, since };
        failed.failure = match lane.roll_back(at, tried, length(rest)).await {
            Ok(tried) => tried.failure,
            Err(end) => return Settled::End(end),
        };
        if done > 0 {
            attempt = 1;
            // What could be decoded may have an `Ack` of its own, and what goes on has one; otherwise the handler's word is what counts.
            let by_policy = span.exit.is_none() && !matches!(failed.failure, Failure::Decode(_));
            rest = advance(rest, done, by_policy, lane);
        }
        let left = now.len() - done;
        if !lane.take_back(last.offset) {
            // It was acknowledged before the handler failed, and that is the word that counts.
            rest = advance(rest, left, false, lane);
            continue;
        }
        let Some(&(record, batch)) = rest.first() else { return Settled::All };
        if attempt == 1 || std::mem::take(&mut is_held_up) {
            since = Instant::now();
        }
        let tx = lane.tx();
        let failed_one =
            Failed { record, batch, partition: lane.partition(), attempt, since, tx: tx.as_deref() };
        if left > 1
            && !matches!(failed.failure, Failure::Decode(_))
            && lane.work.recovery.is_spent(&failed.failure, attempt, since)
        {
            // Which of them it is, nobody knows; the others must not go down with it.
            lane.handler_waits(length(rest));
            lane.failed_together(failed_one.at(), &failed.failure, length(rest));
            one_by_one = true;
            continue;
        }
        match lane.failed(&failed_one, &failed.failure, length(rest)).await {
            Verdict::Retry => attempt += 1,
            Verdict::Again => is_held_up = true,
            Verdict::Skip => return Settled::Skip(rest),
            Verdict::End(end) => return Settled::End(end),
        }
    }
    if attempt > 1 {
        lane.recovered();
        lane.commit_soon();
    }
    Settled::All
}

/// Hands `now` over, the front of what is in hand.
async fn call<H: BatchHandler>(
    prepared: &Prepared,
    span: &Span<'_>,
    (now, rest): (&[One<'_>], &[One<'_>]),
    attempt: u32,
    lane: &mut Lane,
) -> Result<(), BatchFailure> {
    if let (Some((first, _)), Some((last, _))) = (now.first(), now.last()) {
        lane.split(last.offset);
        lane.deliver(first.offset, last.offset);
    }
    let (partition, listener) = (lane.partition(), span.work.id);
    let outbox = span.exit.map(|exit| &exit.outbox);
    let tx = lane.tx();
    let tx = tx.as_deref();
    let delivery =
        BatchDelivery { records: now, partition, listener, attempt, acks: span.issuer, outbox, tx };
    let failed = |failure| BatchFailure { index: 0, failure };
    let handled = guarded(lane, length(rest), || H::call(prepared, delivery), failed).await;
    let Some(exit) = span.exit else { return handled };
    if handled.is_err() && tx.is_some() {
        // It is aborted.
        exit.discard();
        return handled;
    }
    // What precedes a record that could not be decoded has been handled.
    exit.send(span.issuer, tx).await.map_err(|(index, failure)| BatchFailure { index, failure })?;
    handled
}

/// The first `count` of what is in hand are handled; what is left. The last ones are settled with the whole.
fn advance<'a, 'r>(rest: &'a [One<'r>], count: usize, by_policy: bool, lane: &mut Lane) -> &'a [One<'r>] {
    let (done, left) = rest.split_at_checked(count).unwrap_or((rest, &[]));
    if let (Some((before, _)), Some((next, _))) = (done.last(), left.first()) {
        lane.part_done(length(done), next.offset);
        lane.split(before.offset);
        if by_policy {
            lane.settle_by_policy(before.offset);
        }
    }
    left
}

fn length(records: &[One<'_>]) -> u64 {
    u64::try_from(records.len()).unwrap_or(u64::MAX)
}
