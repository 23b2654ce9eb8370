//! What a broker does with a producer's batch: it checks it, then stamps it into the log. Neither opens the records.

use bytes::BufMut;

use super::header::{BatchHeader, Codec, LOG_APPEND_TIME, write_checksum};
use super::{BATCH_OVERHEAD, RecordError};

const BASE_OFFSET_AT: usize = 0;
const LEADER_EPOCH_AT: usize = 12;
const LOW_ATTRIBUTES_AT: usize = 22;
const MAX_TIMESTAMP_AT: usize = 35;

/// Checks what a producer sent for one partition, as a broker's log does (KIP-98): one whole batch of magic 2 and
/// nothing else, its checksum, a known codec, offsets that fit the count, a sequence if there is a producer id, and
/// nothing that only a broker may write.
///
/// # Errors
/// [`RecordError::Checksum`] is Kafka's CORRUPT_MESSAGE; [`RecordError::Malformed`] is INVALID_RECORD.
pub fn check_produced(records: &[u8]) -> Result<BatchHeader, RecordError> {
    let refuse = |reason: String| Err(RecordError::Malformed(reason));
    let Some(header) = BatchHeader::parse(records)? else {
        return refuse("a batch that is cut off".to_owned());
    };
    if header.magic != 2 {
        return refuse(format!("magic {} is no longer written", header.magic));
    }
    if header.size != records.len() {
        return refuse("more than one batch for a partition".to_owned());
    }
    header.verify(records)?;
    let covered = header.last_offset.wrapping_sub(header.base_offset).wrapping_add(1);
    if header.record_count <= 0 || covered != i64::from(header.record_count) {
        return refuse(format!("{} records over {covered} offsets", header.record_count));
    }
    if let Codec::Unknown(codec) = header.codec {
        return refuse(format!("there is no codec {codec}"));
    }
    if header.producer_id >= 0 && header.base_sequence < 0 {
        return refuse("a producer id without a sequence".to_owned());
    }
    if header.is_control {
        return refuse("what only a broker may write".to_owned());
    }
    Ok(header)
}

/// What a broker adds to a batch when it appends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AppendStamp {
    /// The offset of the first record.
    pub base_offset: i64,
    /// The leader's epoch.
    pub leader_epoch: i32,
    /// The time of the append, where the topic has `message.timestamp.type=LogAppendTime`.
    pub append_time: Option<i64>,
}

/// Stamps one whole batch of magic 2, in place; its header afterwards. The checksum covers neither offset nor epoch:
/// it is renewed only for an append time.
///
/// # Errors
/// The bytes are something else; they were not touched.
pub fn stamp(batch: &mut [u8], stamp: AppendStamp) -> Result<BatchHeader, RecordError> {
    match BatchHeader::parse(batch)? {
        Some(header) if header.magic == 2 && header.size == batch.len() => {}
        _ => return Err(RecordError::Malformed("not one whole batch of magic 2".to_owned())),
    }
    if let Some(fields) = batch.first_chunk_mut::<BATCH_OVERHEAD>() {
        (&mut fields[BASE_OFFSET_AT..]).put_i64(stamp.base_offset);
        (&mut fields[LEADER_EPOCH_AT..]).put_i32(stamp.leader_epoch);
        if let Some(time) = stamp.append_time {
            fields[LOW_ATTRIBUTES_AT] |= LOG_APPEND_TIME as u8;
            (&mut fields[MAX_TIMESTAMP_AT..]).put_i64(time);
        }
    }
    if stamp.append_time.is_some() {
        write_checksum(batch);
    }
    BatchHeader::parse(batch)?.ok_or_else(|| RecordError::Malformed("no batch any more".to_owned()))
}
