//! What the application gave with `.state(value)`.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use super::handler::{Preparation, Slot};

/// A value of the application, given once with `.state(value)` and found by its type.
///
/// As an argument `&State<T>` costs nothing per record; `State<T>` can be kept and moved into a task, for one count.
/// A listener whose state is missing does not start; all that is missing is reported together.
///
/// ```
/// # use kafka_runtime::prelude::*;
/// struct Prices(Vec<u64>);
///
/// #[kafka_listener(topic = "orders", group = "pricing")]
/// async fn price(order: String, prices: &State<Prices>) {
///     let known = prices.0.len();
/// }
///
/// // In a test the function is an ordinary one:
/// let prices = State::new(Prices(vec![1, 2]));
/// let call = price("an order".to_owned(), &prices);
/// ```
pub struct State<T: ?Sized>(Arc<T>);

impl<T> State<T> {
    /// A state of its own, to call a handler in a test.
    #[must_use]
    pub fn new(value: T) -> Self {
        Self(Arc::new(value))
    }
}

impl<T: ?Sized> State<T> {
    /// The counted pointer that the application shares.
    #[must_use]
    pub fn into_arc(self) -> Arc<T> {
        self.0
    }
}

impl<T: ?Sized> From<Arc<T>> for State<T> {
    fn from(shared: Arc<T>) -> Self {
        Self(shared)
    }
}

impl<T: ?Sized> Clone for State<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: ?Sized> Deref for State<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

/// Shows the type only: a state may hold secrets.
impl<T: ?Sized> fmt::Debug for State<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "State<{}>", std::any::type_name::<T>())
    }
}

pub(super) fn prepare<T: Send + Sync + 'static>(preparation: &mut Preparation<'_>) -> Slot {
    preparation.state::<T>().map(|shared| Slot::new(State(shared))).unwrap_or_default()
}

pub(super) fn lookup<T: Send + Sync + 'static>(slot: &Slot) -> Result<&State<T>, StateRejection> {
    slot.get().ok_or_else(|| StateRejection { wanted: std::any::type_name::<T>() })
}

/// A handler was called though its state was missing at the start.
#[derive(Debug, Clone, Copy)]
pub struct StateRejection {
    /// The type that is missing.
    pub wanted: &'static str,
}

impl fmt::Display for StateRejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no state of type `{}` was given to the application", self.wanted)
    }
}
