//! Topics with a type, and what can be sent to.

use std::fmt;
use std::marker::PhantomData;

use kafka_client::TopicName;
use serde::Serialize;

use super::{AsKey, Record, Result};

/// A topic and the type of what is in it, said once for all that write to it and read from it, so that a value of another
/// type does not compile.
///
/// ```
/// # use kafka_runtime::prelude::*;
/// #[derive(Serialize, Deserialize)]
/// struct Order { id: u64 }
///
/// const ORDERS: Topic<Order> = Topic::new("orders");
///
/// # async fn example(template: Template) -> Result<(), TemplateError> {
/// template.send(ORDERS, "c1", &Order { id: 1 }).await?;
/// # Ok(()) }
/// ```
///
/// ```compile_fail
/// # use kafka_runtime::prelude::*;
/// # #[derive(Serialize, Deserialize)] struct Order { id: u64 }
/// # const ORDERS: Topic<Order> = Topic::new("orders");
/// # async fn example(template: Template) -> Result<(), TemplateError> {
/// template.send(ORDERS, "c1", "no order").await?;
/// # Ok(()) }
/// ```
///
/// A record with more than key and value begins with [`Topic::record`].
///
/// A listener resolves `${..}` in the name. The template does not, it sends to the name as it is: for such a topic it refuses
/// with [`TemplateError::Placeholder`](super::TemplateError::Placeholder), and what it sends to is the text that
/// [`Config::resolve`](crate::config::Config::resolve) makes of [`Topic::name`].
pub struct Topic<T: ?Sized> {
    name: &'static str,
    // Neither owns nor borrows a T. A topic of `Tick<'static>` is one of `Tick<'a>`, whose records come and go.
    of: PhantomData<fn() -> *const T>,
}

impl<T: ?Sized> Topic<T> {
    /// The topic `name`.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self { name, of: PhantomData }
    }

    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }
}

impl<T: Serialize + ?Sized> Topic<T> {
    /// A record of this topic, with the value that [`Template::send`](super::Template::send) would write, for whatever takes a
    /// [`Record`]. Headers, partition and the like are added behind. ([`Record::to`] takes a topic's name, and any value.)
    ///
    /// ```
    /// # use kafka_runtime::prelude::*;
    /// # #[derive(Serialize)] struct Order { id: u64 }
    /// # const ORDERS: Topic<Order> = Topic::new("orders");
    /// # async fn example(template: Template, order: Order) -> Result<(), TemplateError> {
    /// template.send_record(ORDERS.record("c1", &order)?.header("trace", "t1").partition(3)).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// ```compile_fail,E0308
    /// # use kafka_runtime::prelude::*;
    /// # #[derive(Serialize)] struct Order { id: u64 }
    /// # const ORDERS: Topic<Order> = Topic::new("orders");
    /// # async fn example(template: Template) -> Result<(), TemplateError> {
    /// template.send_record(ORDERS.record("c1", "no order")?.header("trace", "t1")).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// The value has no JSON form.
    pub fn record(self, key: impl AsKey, value: &T) -> Result<Record> {
        Record::encoded(TopicName::new(self.name), key, value)
    }
}

impl<T: ?Sized> Clone for Topic<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: ?Sized> Copy for Topic<T> {}

impl<T: ?Sized> fmt::Debug for Topic<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Topic({})", self.name)
    }
}

impl<T: ?Sized> fmt::Display for Topic<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl<T: ?Sized> AsRef<str> for Topic<T> {
    fn as_ref(&self) -> &str {
        self.name
    }
}

/// Where a value of type `V` can be sent: a [`Topic<V>`], or a topic's name, to which anything can.
#[diagnostic::on_unimplemented(
    message = "a `{V}` cannot be sent to a `{Self}`",
    label = "the topic has another type",
    note = "a `Topic<T>` takes `T`; a topic's name takes anything"
)]
pub trait Destination<V: ?Sized>: Sized {
    /// The topic.
    fn topic(self) -> TopicName;
}

impl<V: ?Sized> Destination<V> for Topic<V> {
    fn topic(self) -> TopicName {
        TopicName::new(self.name)
    }
}

impl<V: ?Sized> Destination<V> for &str {
    fn topic(self) -> TopicName {
        TopicName::new(self)
    }
}

impl<V: ?Sized> Destination<V> for &String {
    fn topic(self) -> TopicName {
        TopicName::new(self)
    }
}

impl<V: ?Sized> Destination<V> for String {
    fn topic(self) -> TopicName {
        TopicName::new(&self)
    }
}

impl<V: ?Sized> Destination<V> for TopicName {
    fn topic(self) -> TopicName {
        self
    }
}
