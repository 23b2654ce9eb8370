//! The fetch answer, written by hand so that stored batches go out without a copy.

use std::ops::Range;
use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::TopicName;
use uuid::Uuid;

use super::super::NONE;
use super::BY_ID;
use super::session::Target;
use crate::cluster::Node;
use crate::log::{Aborted, Batch};
use crate::partition::Isolation;
use crate::server::dispatch::{Closed, Reply};
use crate::server::response::Response;

/// Flexible from here on: compact arrays, tagged fields.
const FLEXIBLE: i16 = 12;
/// Leader hints (KIP-951) from here on.
const HINTS: i16 = 16;

/// A fetch's answer.
#[derive(Debug, Default)]
pub(crate) struct Fetched {
    pub(super) error: i16,
    pub(super) session_id: i32,
    pub(super) topics: Vec<FetchedTopic>,
    /// The batches of all partitions, one after the other.
    pub(super) batches: Vec<Arc<Batch>>,
    pub(super) bytes: usize,
    pub(super) isolation: Isolation,
    /// The brokers that leader hints name.
    pub(super) endpoints: Vec<Node>,
}

#[derive(Debug)]
pub(super) struct FetchedTopic {
    pub(super) name: TopicName,
    pub(super) id: Uuid,
    pub(super) partitions: Vec<FetchedPartition>,
}

#[derive(Debug)]
pub(super) struct FetchedPartition {
    pub(super) index: i32,
    pub(super) error: i16,
    pub(super) high_watermark: i64,
    pub(super) last_stable: i64,
    pub(super) log_start: i64,
    /// The replica to read from instead, -1: this one.
    pub(super) preferred: i32,
    /// For a reader of committed records.
    pub(super) aborted: Vec<Aborted>,
    /// Who leads it, in which epoch: said with an error.
    pub(super) leader: Option<(i32, i32)>,
    /// Where the log ends in the epoch in which the client read last (KIP-595): it must go back there.
    pub(super) diverging: Option<(i32, i64)>,
    pub(super) batches: Range<usize>,
    pub(super) bytes: usize,
}

impl Default for FetchedPartition {
    fn default() -> Self {
        Self {
            index: 0,
            error: NONE,
            high_watermark: -1,
            last_stable: -1,
            log_start: -1,
            preferred: -1,
            aborted: Vec::new(),
            leader: None,
            diverging: None,
            batches: 0..0,
            bytes: 0,
        }
    }
}

impl FetchedPartition {
    /// Whether it has more to tell than records. That there is no such partition can wait, as in Kafka.
    fn has_news(&self) -> bool {
        let is_unknown = [ResponseError::UnknownTopicOrPartition, ResponseError::UnknownTopicId]
            .iter()
            .any(|unknown| unknown.code() == self.error);
        self.diverging.is_some() || self.preferred >= 0 || (self.error != NONE && !is_unknown)
    }

    pub(super) fn failed(index: i32, error: ResponseError) -> Self {
        Self { index, error: error.code(), ..Self::default() }
    }
}

impl Fetched {
    /// Adds what was read for `target`.
    pub(super) fn push(&mut self, target: &Target, part: FetchedPartition) {
        match self.topics.last_mut() {
            Some(last) if last.id == target.topic_id && last.name == target.topic => {
                last.partitions.push(part)
            }
            _ => self.topics.push(FetchedTopic {
                name: target.topic.clone(),
                id: target.topic_id,
                partitions: vec![part],
            }),
        }
    }

    /// Whether the answer need not wait: enough bytes, an error of a partition that is here, or none that is.
    pub(super) fn is_enough(&self, min_bytes: usize) -> bool {
        let mut parts = self.topics.iter().flat_map(|topic| &topic.partitions);
        self.bytes >= min_bytes
            || self.error != NONE
            || parts.clone().any(FetchedPartition::has_news)
            || parts.all(|part| part.error != NONE)
    }
}

impl Reply for Fetched {
    fn write(&self, into: &mut Response, version: i16) -> Result<bool, Closed> {
        let flexible = version >= FLEXIBLE;
        into.text().put_i32(0);
        if version >= 7 {
            into.text().put_i16(self.error);
            into.text().put_i32(self.session_id);
        }
        put_count(into.text(), self.topics.len(), flexible);
        for topic in &self.topics {
            put_topic(into.text(), topic, version);
            put_count(into.text(), topic.partitions.len(), flexible);
            for part in &topic.partitions {
                self.put_partition(into, part, version);
            }
            if flexible {
                put_no_tags(into.text());
            }
        }
        if flexible {
            self.put_endpoints(into.text(), version);
        }
        Ok(true)
    }
}

impl Fetched {
    fn put_partition(&self, into: &mut Response, part: &FetchedPartition, version: i16) {
        let flexible = version >= FLEXIBLE;
        let text = into.text();
        text.put_i32(part.index);
        text.put_i16(part.error);
        text.put_i64(part.high_watermark);
        text.put_i64(part.last_stable);
        if version >= 5 {
            text.put_i64(part.log_start);
        }
        match (self.isolation, flexible) {
            (Isolation::ReadCommitted, _) => put_aborted(text, &part.aborted, flexible),
            (Isolation::ReadUncommitted, true) => text.put_u8(0),
            (Isolation::ReadUncommitted, false) => text.put_i32(-1),
        }
        if version >= 11 {
            text.put_i32(part.preferred);
        }
        put_count(text, part.bytes, flexible);
        for batch in self.batches.get(part.batches.clone()).unwrap_or_default() {
            into.text().put_slice(batch.head());
            into.attach(batch.records());
        }
        if flexible {
            match (part.diverging, part.leader) {
                (Some(from), _) => put_diverging(into.text(), from),
                (None, Some(leader)) if version >= HINTS => put_leader(into.text(), leader),
                _ => put_no_tags(into.text()),
            }
        }
    }

    fn put_endpoints(&self, text: &mut BytesMut, version: i16) {
        if version < HINTS || self.endpoints.is_empty() {
            return put_no_tags(text);
        }
        let mut list = BytesMut::new();
        put_count(&mut list, self.endpoints.len(), true);
        for node in &self.endpoints {
            list.put_i32(node.id);
            put_count(&mut list, node.host.len(), true);
            list.put_slice(node.host.as_bytes());
            list.put_i32(i32::from(node.port));
            put_nullable(&mut list, node.rack.as_deref());
            put_no_tags(&mut list);
        }
        put_one_tag(text, 0, &list);
    }
}

fn put_topic(text: &mut BytesMut, topic: &FetchedTopic, version: i16) {
    if version >= BY_ID {
        text.put_slice(topic.id.as_bytes());
        return;
    }
    if version >= FLEXIBLE {
        put_count(text, topic.name.len(), true);
    } else {
        text.put_i16(i16::try_from(topic.name.len()).unwrap_or(0));
    }
    text.put_slice(topic.name.as_bytes());
}

fn put_aborted(text: &mut BytesMut, aborted: &[Aborted], flexible: bool) {
    put_count(text, aborted.len(), flexible);
    for Aborted { producer_id, first, .. } in aborted {
        text.put_i64(*producer_id);
        text.put_i64(*first);
        if flexible {
            put_no_tags(text);
        }
    }
}

fn put_diverging(text: &mut BytesMut, (epoch, end): (i32, i64)) {
    let mut from = BytesMut::with_capacity(13);
    from.put_i32(epoch);
    from.put_i64(end);
    put_no_tags(&mut from);
    put_one_tag(text, 0, &from);
}

fn put_leader(text: &mut BytesMut, (id, epoch): (i32, i32)) {
    let mut leader = BytesMut::with_capacity(9);
    leader.put_i32(id);
    leader.put_i32(epoch);
    put_no_tags(&mut leader);
    put_one_tag(text, 1, &leader);
}

/// The length of an array, of a string in flexible versions, or of records.
fn put_count(text: &mut BytesMut, count: usize, flexible: bool) {
    // Answers are bounded far below 2 GiB.
    let count = u32::try_from(count).unwrap_or(0);
    if flexible { put_varint(text, count + 1) } else { text.put_u32(count) }
}

/// A compact string or null.
fn put_nullable(text: &mut BytesMut, value: Option<&str>) {
    match value {
        None => text.put_u8(0),
        Some(value) => {
            put_count(text, value.len(), true);
            text.put_slice(value.as_bytes());
        }
    }
}

fn put_varint(text: &mut BytesMut, mut value: u32) {
    while value >= 0x80 {
        text.put_u8((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    text.put_u8(value as u8);
}

fn put_no_tags(text: &mut BytesMut) {
    text.put_u8(0);
}

fn put_one_tag(text: &mut BytesMut, tag: u32, value: &[u8]) {
    put_varint(text, 1);
    put_varint(text, tag);
    put_varint(text, u32::try_from(value.len()).unwrap_or(0));
    text.put_slice(value);
}
