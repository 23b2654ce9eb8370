//! A fault on its way: which requests, which of them, and at the end what becomes of those.

use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::ApiKey;

use super::rule::{Effect, Fault, Filter, Rule, When};
use crate::cluster::Cluster;

/// A fault that is not installed yet. Made by [`Faults::on`](super::Faults::on).
///
/// First it is narrowed: to the requests that all of [`broker`](Self::broker), [`client`](Self::client),
/// [`topic`](Self::topic), [`group`](Self::group) and so on describe, and of those to the [`nth`](Self::nth), the
/// [`first`](Self::first) and so on; without one of these to all. Then one effect installs it:
///
/// | effect | handled? | answered? |
/// |---|---|---|
/// | [`answer`](Self::answer) | no | with an error |
/// | [`delay`](Self::delay), [`hold`](Self::hold) | later | then |
/// | [`delay_answer`](Self::delay_answer), [`hold_answer`](Self::hold_answer) | at once | later |
/// | [`drop_request`](Self::drop_request) | no | never, the connection stays open |
/// | [`drop_answer`](Self::drop_answer) | yes | never, the connection stays open |
/// | [`close`](Self::close) | no | no, the connection is closed |
/// | [`close_after`](Self::close_after) | yes | no, the connection is closed |
/// | [`cut_answer`](Self::cut_answer) | yes | a part, then the connection is closed |
/// | [`byte_by_byte`](Self::byte_by_byte) | yes | each byte by itself |
/// | [`throttle`](Self::throttle) | yes | with `throttle_time_ms`, and nothing is read for so long |
#[derive(Debug)]
#[must_use = "nothing goes wrong before an effect is named"]
pub struct On {
    cluster: Arc<Cluster>,
    filter: Filter,
    when: When,
}

impl On {
    pub(super) fn new(cluster: Arc<Cluster>, api: Option<ApiKey>) -> Self {
        let apis = api.into_iter().map(|api| api as i16).collect();
        Self { cluster, filter: Filter { apis, ..Filter::default() }, when: When::Always }
    }

    /// Also the requests of `api`, counted together with the others.
    pub fn or(mut self, api: ApiKey) -> Self {
        // Of all APIs this one is already one.
        if !self.filter.apis.is_empty() {
            self.filter.apis.push(api as i16);
        }
        self
    }

    /// Only requests to the broker with this id.
    pub fn broker(mut self, id: i32) -> Self {
        self.filter.broker = Some(id);
        self
    }

    /// Only requests of clients with this `client.id`.
    pub fn client(mut self, id: impl Into<String>) -> Self {
        self.filter.client = Some(id.into());
        self
    }

    /// Only requests about this topic. An error is answered for this topic alone: what else the request names is served.
    /// (AddPartitionsToTxn adds all or none, as in Kafka: the others get OPERATION_NOT_ATTEMPTED. Where an answer has one
    /// error for all, as that of ListPartitionReassignments, the request is refused.)
    pub fn topic(mut self, name: impl Into<String>) -> Self {
        self.filter.topic = Some(name.into());
        self
    }

    /// Only requests about this partition (of [`topic`](Self::topic), or of any); with an error as there.
    pub fn partition(mut self, index: i32) -> Self {
        self.filter.partition = Some(index);
        self
    }

    /// Only requests about this group.
    pub fn group(mut self, id: impl Into<String>) -> Self {
        self.filter.group = Some(id.into());
        self
    }

    /// Only requests with this `transactional.id`.
    pub fn transactional_id(mut self, id: impl Into<String>) -> Self {
        self.filter.transactional_id = Some(id.into());
        self
    }

    /// The `n`-th such request only, counted from 1.
    pub fn nth(self, n: u64) -> Self {
        self.when(When::Nth(n))
    }

    /// The next such request only.
    pub fn once(self) -> Self {
        self.nth(1)
    }

    /// The first `n` such requests.
    pub fn first(self, n: u64) -> Self {
        self.when(When::First(n))
    }

    /// All such requests but the first `n`.
    pub fn after(self, n: u64) -> Self {
        self.when(When::After(n))
    }

    /// Each `n`-th such request.
    pub fn every(self, n: u64) -> Self {
        self.when(When::Every(n))
    }

    /// Each such request with this probability, 0 to 1. The cluster's [seed](crate::Builder::seed) decides.
    pub fn with_chance(self, chance: f64) -> Self {
        self.when(When::Chance(chance))
    }

    fn when(mut self, when: When) -> Self {
        self.when = when;
        self
    }

    /// It is not handled; the answer has `error` wherever this API's answer has one for what the request names.
    ///
    /// A request that names nothing the answer could have an error for (Metadata of no topics) is handled.
    pub fn answer(self, error: ResponseError) -> Fault {
        self.install(Effect::Answer(error))
    }

    /// It is handled `delay` later. What follows on its connection waits too.
    pub fn delay(self, delay: Duration) -> Fault {
        self.install(Effect::Delay(delay))
    }

    /// It is handled at once; its answer comes `delay` later.
    pub fn delay_answer(self, delay: Duration) -> Fault {
        self.install(Effect::DelayAnswer(delay))
    }

    /// It is handled once the fault is [released](Fault::release).
    pub fn hold(self) -> Fault {
        self.install(Effect::Hold)
    }

    /// It is handled at once; its answer comes when the fault is [released](Fault::release).
    pub fn hold_answer(self) -> Fault {
        self.install(Effect::HoldAnswer)
    }

    /// It is neither handled nor answered. Since answers come in order, nothing that follows on its connection is
    /// answered either, until the client gives the connection up.
    pub fn drop_request(self) -> Fault {
        self.install(Effect::DropRequest)
    }

    /// It is handled and never answered, nor is what follows on its connection.
    pub fn drop_answer(self) -> Fault {
        self.install(Effect::DropAnswer)
    }

    /// Its connection is closed and it is not handled.
    pub fn close(self) -> Fault {
        self.install(Effect::Close)
    }

    /// It is handled; instead of an answer its connection is closed.
    pub fn close_after(self) -> Fault {
        self.install(Effect::CloseAfter)
    }

    /// It is handled; after `bytes` bytes of the answer (which begins with its length in four) the connection is
    /// closed. Of a shorter answer the last byte is missing.
    pub fn cut_answer(self, bytes: usize) -> Fault {
        self.install(Effect::Cut(bytes))
    }

    /// The answer leaves byte by byte, each by itself.
    pub fn byte_by_byte(self) -> Fault {
        self.install(Effect::ByteByByte)
    }

    /// The answer says that the client is throttled for `time`, and nothing is read from its connection for so long,
    /// as with a quota (KIP-219).
    pub fn throttle(self, time: Duration) -> Fault {
        self.install(Effect::Throttle(time))
    }

    fn install(self, effect: Effect) -> Fault {
        let rng = super::own_rng(&self.cluster);
        let rule = Rule::new(self.filter, self.when, effect, rng);
        Fault::install(self.cluster, rule)
    }
}
