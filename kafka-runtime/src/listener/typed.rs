//! `topic = ORDERS`: the payload has the type of the topic.

use super::Batch;
use crate::dead_letter::DeadLetter;
use crate::template::Topic;

/// A payload that is read from topics with a `T`: `T` itself (with whatever lifetime), `Option<T>`,
/// [`DeadLetter<T>`].
#[diagnostic::on_unimplemented(
    message = "the payload is `{Self}`, and the topic has `{T}`",
    label = "not what is in the topic",
    note = "from a `Topic<T>` a listener takes `T`, `Option<T>` or `DeadLetter<T>`, with `batch` a `Vec`, slice or `Batch` \
            of these; whatever is taken otherwise names its topic by a text: `topic = \"orders\"`"
)]
pub trait PayloadOf<T: ?Sized> {}

impl<T: ?Sized> PayloadOf<T> for T {}
impl<T> PayloadOf<T> for Option<T> {}
impl<T> PayloadOf<T> for DeadLetter<T> {}

/// The payload of a batch listener, of which each is a [`PayloadOf`] the topic.
#[diagnostic::on_unimplemented(
    message = "the payload is `{Self}`, and the topic has `{T}`",
    label = "not a batch of what is in the topic"
)]
pub trait BatchOfTopic<T: ?Sized> {}

impl<T: ?Sized, P: PayloadOf<T>> BatchOfTopic<T> for Vec<P> {}
impl<T: ?Sized, P: PayloadOf<T>> BatchOfTopic<T> for Batch<P> {}

/// The topic's name, for the macro's code.
#[must_use]
pub const fn topic_name<T: ?Sized>(topic: Topic<T>) -> &'static str {
    topic.name()
}

/// Compiles if `P` is read from the topic.
#[inline]
pub fn reads<P: PayloadOf<T>, T: ?Sized>(_: Topic<T>) {}

/// Compiles if a batch `B` is read from the topic.
#[inline]
pub fn reads_batch<B: BatchOfTopic<T>, T: ?Sized>(_: Topic<T>) {}
