//! What faults must know of each API: what its requests name, and where its answers hold an error.
//!
//! One file for each family: `data`, `groups`, `topics`, `transactions`, `cluster`.

/// The topics of a request, as its answer lists them, with an error for each partition.
macro_rules! refused {
    ($error:ident in $topics:expr => $topic:ty, $with_name:ident($name:ident),
     $partition:ty, $with_index:ident($index:ident) $(, $with:ident($value:expr))*) => {{
        let topics = $topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|asked| {
                <$partition>::default()
                    .$with_index(asked.$index)
                    .with_error_code($error.code())
                    $(.$with($value))*
            });
            let partitions = partitions.collect();
            <$topic>::default().$with_name(topic.$name.clone()).with_partitions(partitions)
        });
        topics.collect()
    }};
}

/// Tells `see` every partition of the topics of a request.
macro_rules! see_partitions {
    ($see:ident, $topics:expr, $name:ident, $index:ident) => {
        for topic in &$topics {
            topic.partitions.iter().for_each(|asked| $see(Named::Partition(&topic.$name, asked.$index)));
        }
    };
}

mod cluster;
mod data;
mod groups;
mod topics;
mod transactions;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::TopicName;
use kafka_protocol::protocol::{HeaderVersion, Request};
use uuid::Uuid;

use crate::server::connection::Context;

/// Something that a request names.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Named<'r> {
    Topic(&'r str),
    /// The topic with this id.
    TopicOf(Uuid),
    Partition(&'r str, i32),
    /// A partition of the topic with this id.
    PartitionOf(Uuid, i32),
    Group(&'r str),
    TransactionalId(&'r str),
}

/// Who is told what a request names.
pub(crate) type See<'s> = &'s mut dyn FnMut(Named<'_>);

/// Where an answer holds `throttle_time_ms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ThrottleField {
    /// It comes first, from this version on.
    First { from: i16 },
    /// It comes after the error code.
    Second,
    /// It comes last, before the tagged fields.
    Last { flexible_from: i16 },
    /// It has none, or in the midst of others.
    Elsewhere,
}

/// A request that can be struck.
pub(crate) trait Subject: Request {
    /// Whether its handler asks [`allowed`](crate::faults::allowed) for each topic or partition, so that a fault can
    /// refuse some of what a request names.
    const ASKS_PER_PARTITION: bool = false;
    /// Where its answer says for how long the client is throttled.
    const THROTTLE: ThrottleField = ThrottleField::First { from: 0 };

    /// Tells `see` what the request names.
    fn names(&self, context: &Context, see: See<'_>);

    /// The answer with `error` wherever it has a place for one; `None` where it has none, or where the handler must
    /// answer and asks [`allowed`](crate::faults::allowed).
    fn refuse(&self, context: &Context, error: ResponseError) -> Option<Self::Response>;

    /// Whether its client waits for an answer.
    fn wants_answer(&self) -> bool {
        true
    }

    /// Bytes of the frame before the answer's body: length and header.
    fn header_size(version: i16) -> usize {
        // Flexible headers end with the count of their tagged fields.
        if Self::Response::header_version(version) >= 1 { 9 } else { 8 }
    }
}

/// Tells `see` every partition that there is, as a request does that asks for all.
fn see_all_partitions(context: &Context, see: See<'_>) {
    for topic in context.cluster.topics.all() {
        (0..).zip(&topic.partitions).for_each(|(index, _)| see(Named::Partition(&topic.name, index)));
    }
}

/// A partition by its topic's name, or by its id where the version has that.
fn partition<'r>(name: &'r TopicName, id: Uuid, index: i32) -> Named<'r> {
    if id.is_nil() { Named::Partition(name.as_str(), index) } else { Named::PartitionOf(id, index) }
}
