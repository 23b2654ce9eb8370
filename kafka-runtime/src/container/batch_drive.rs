//! The loop over batches, for handlers of many records at once.
//!
//! A handler that fails at an index has handled everything before it; what is before is settled, the rest is tried
//! again, from the record that failed.

use kafka_client::consumer::ChunkBatch;
use kafka_client::records::{Record, RecordError};

use super::drive::guarded;
use super::lane::{End, Lane, Verdict};
use super::outcome::Where;
use super::work::Span;
use crate::listener::{BatchDelivery, BatchFailure, BatchHandler, Failure, Prepared};

type One<'r> = (Record<'r>, &'r ChunkBatch);

/// Hands the span's records to the handler, at most `span.most` at once.
pub(crate) async fn drive_batches<H: BatchHandler>(
    prepared: &Prepared,
    span: Span<'_>,
    lane: &mut Lane,
) -> End {
    let (records, unreadable) = gather(&span);
    for slice in records.chunks(span.most.max(1)) {
        if let Some(end) = hand_over::<H>(prepared, &span, slice, lane).await {
            return end;
        }
    }
    if let Some(error) = unreadable {
        let next = records.last().map_or(span.from, |(record, _)| record.offset + 1);
        return lane.unreadable(next, &error.to_string());
    }
    if let (None, Some(last)) = (span.to, span.batches.last()) {
        lane.pass_to(last.next_offset(), last.batch().header().leader_epoch);
    }
    End::Done
}

/// The span's records, up to the first that cannot be read.
fn gather<'r>(span: &Span<'r>) -> (Vec<One<'r>>, Option<RecordError>) {
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
                Ok(record) => records.push((record, batch)),
                Err(error) => return (records, Some(error)),
            }
        }
    }
    (records, None)
}

/// One slice, until it is settled. `Some` ends the span.
async fn hand_over<H: BatchHandler>(
    prepared: &Prepared,
    span: &Span<'_>,
    mut rest: &[One<'_>],
    lane: &mut Lane,
) -> Option<End> {
    let mut attempt = span.attempt;
    while let (Some((first, _)), Some((last, _))) = (rest.first(), rest.last()) {
        while !lane.take(first.offset, length(rest)) {
            if let Some(end) = lane.pause(first.offset).await {
                return Some(end);
            }
        }
        match until_settled::<H>(prepared, span, rest, attempt, lane).await {
            Settled::All => return None,
            Settled::Skipped(index) => {
                rest = rest.get(index + 1..).unwrap_or_default();
                let next = rest.first().map_or(last.offset + 1, |(record, _)| record.offset);
                lane.part_done(1, next);
                lane.split(next - 1);
                lane.settle_by_policy(next - 1);
                lane.give_back(length(rest));
                attempt = 1;
            }
            Settled::End(end) => return Some(end),
        }
    }
    None
}

enum Settled {
    All,
    /// Everything before this index is handled, and it is passed over.
    Skipped(usize),
    End(End),
}

/// Calls the handler for what was taken, again and again for what is not handled.
async fn until_settled<H: BatchHandler>(
    prepared: &Prepared,
    span: &Span<'_>,
    slice: &[One<'_>],
    mut attempt: u32,
    lane: &mut Lane,
) -> Settled {
    let (mut rest, mut handled) = (slice, 0);
    while let (Some((first, _)), Some((last, _))) = (rest.first(), rest.last()) {
        lane.deliver(first.offset, last.offset);
        let (partition, listener) = (lane.partition(), span.work.id);
        let delivery = BatchDelivery { records: rest, partition, listener, attempt, acks: span.issuer };
        let panicked = |message| BatchFailure { index: 0, failure: Failure::Panic(message) };
        let Err(failed) = guarded(lane, length(rest), || H::call(prepared, delivery), panicked).await else {
            break;
        };
        // An index behind the end would mean that nothing failed; something did.
        let (done, left) = rest.split_at(failed.index.min(rest.len() - 1));
        let Some((culprit, _)) = left.first() else { break };
        if let Some((before, _)) = done.last() {
            attempt = 1;
            lane.part_done(length(done), culprit.offset);
            lane.split(before.offset);
            if !matches!(failed.failure, Failure::Decode(_)) {
                // The handler's word; a front that it got alone, since the rest cannot be decoded, has an `Ack`.
                lane.settle_by_policy(before.offset);
            }
        }
        if !lane.take_back(last.offset) {
            // It was acknowledged before the handler failed, and that is the word that counts.
            break;
        }
        (rest, handled) = (left, handled + done.len());
        let at = Where { partition, offset: culprit.offset, key: culprit.key, attempt };
        match lane.failed(at, &failed.failure, length(rest)).await {
            Verdict::Retry => attempt += 1,
            Verdict::Skip => return Settled::Skipped(handled),
            Verdict::End(end) => return Settled::End(end),
        }
    }
    if attempt > 1 {
        lane.recovered();
    }
    Settled::All
}

fn length(records: &[One<'_>]) -> u64 {
    u64::try_from(records.len()).unwrap_or(u64::MAX)
}
