//! The two traits that the macro implements on a hidden type per listener, and what they look up before they start.

use std::any::{Any, TypeId, type_name};
use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;

use super::{BatchDelivery, BatchFailure, Delivery, Failure, SourceLocation};

/// Calls a handler for one record. Static per record; made dynamic once per batch by the container.
pub trait Handler: Send + Sync + 'static {
    /// Looks up once what every call needs. What is missing is noted in `preparation`, all of it.
    fn prepare(preparation: &mut Preparation<'_>) -> Prepared;

    /// Whether the handler wants the record: `filter = ..`; every one without it.
    fn keeps(delivery: &Delivery<'_>) -> bool {
        let _ = delivery;
        true
    }

    /// Decodes, extracts, calls. Borrowed, so that none of what a delivery says is moved for a call.
    fn call<'r>(
        prepared: &'r Prepared,
        delivery: &'r Delivery<'r>,
    ) -> impl Future<Output = Result<(), Failure>> + Send + 'r;
}

/// Calls a handler for a batch of records of one partition.
pub trait BatchHandler: Send + Sync + 'static {
    /// As [`Handler::prepare`].
    fn prepare(preparation: &mut Preparation<'_>) -> Prepared;

    /// Whether the handler wants the record: `filter = ..`; every one without it.
    fn keeps(delivery: &Delivery<'_>) -> bool {
        let _ = delivery;
        true
    }

    /// Decodes, extracts, calls. A record that cannot be decoded ends the batch before it: the handler gets what
    /// precedes it, and the failure names its index once that part is handled.
    fn call<'r>(
        prepared: &'r Prepared,
        delivery: BatchDelivery<'r>,
    ) -> impl Future<Output = Result<(), BatchFailure>> + Send + 'r;
}

/// The application's state by type, as `.state(value)` put it in.
pub type States = HashMap<TypeId, Arc<dyn Any + Send + Sync>>;

/// What a handler may look up before it starts; collects everything that is missing.
#[derive(Debug)]
pub struct Preparation<'a> {
    /// The states of the application.
    pub(crate) states: &'a States,
    /// What is missing, in words.
    pub(crate) missing: Vec<String>,
}

impl<'a> Preparation<'a> {
    /// Nothing is missing yet.
    #[must_use]
    pub fn new(states: &'a States) -> Self {
        Self { states, missing: Vec::new() }
    }

    /// Whether somebody wants to know what the handler does.
    #[cfg(feature = "testing")]
    pub(crate) fn is_watched(&self) -> bool {
        self.states.contains_key(&TypeId::of::<crate::testing::Witness>())
    }

    /// The application's value of type `T`. `None` if it has none, which is noted as missing.
    pub fn state<T: Send + Sync + 'static>(&mut self) -> Option<Arc<T>> {
        let found = self.states.get(&TypeId::of::<T>()).cloned().and_then(|state| state.downcast().ok());
        if found.is_none() {
            let wanted = type_name::<T>();
            let shared = self.states.contains_key(&TypeId::of::<Arc<T>>());
            self.missing(match shared {
                true => format!(
                    "no state of type `{wanted}`, though there is an `Arc<{wanted}>`: states are shared by \
                     themselves, so give the value without `Arc` to `.state(..)`"
                ),
                false => format!("no state of type `{wanted}`: give the application one with `.state(..)`"),
            });
        }
        found
    }

    /// Notes that the listener cannot start, and why. The text is completed with the listener and the argument.
    pub fn missing(&mut self, what: impl Into<String>) {
        self.missing.push(what.into());
    }

    /// Runs `prepare`, and names the listener and its argument in whatever that finds missing.
    pub(crate) fn argument(
        &mut self,
        site: &Site,
        argument: &str,
        prepare: impl FnOnce(&mut Self) -> Slot,
    ) -> Slot {
        let known = self.missing.len();
        let slot = prepare(self);
        for text in self.missing.iter_mut().skip(known) {
            *text =
                format!("listener `{}` ({}), argument `{argument}`: {text}", site.listener, site.location);
        }
        slot
    }
}

/// Which listener is being prepared.
#[derive(Debug, Clone, Copy)]
pub struct Site {
    /// Its id as the attribute says it.
    pub listener: &'static str,
    /// Where the attribute stands.
    pub location: SourceLocation,
}

/// What one argument looked up before the first record, for every call after.
#[derive(Debug, Clone, Default)]
pub struct Slot(Option<Arc<dyn Any + Send + Sync>>);

impl Slot {
    /// Keeps `value`.
    #[must_use]
    pub fn new<T: Any + Send + Sync>(value: T) -> Self {
        Self(Some(Arc::new(value)))
    }

    /// The value, if it was kept and is a `T`.
    #[inline]
    #[must_use]
    pub fn get<T: Any>(&self) -> Option<&T> {
        self.0.as_ref()?.downcast_ref()
    }
}

/// What was looked up, by the argument's position. One fixed type, so that a wrong argument is exactly one error.
#[derive(Debug, Default)]
pub struct Prepared {
    pub(crate) slots: Vec<Slot>,
}

/// What an argument that looks nothing up has.
pub(super) static NOTHING: Slot = Slot(None);

impl Prepared {
    /// What the argument at `index` looked up.
    #[inline]
    #[must_use]
    pub fn slot(&self, index: usize) -> &Slot {
        self.slots.get(index).unwrap_or(&NOTHING)
    }
}
