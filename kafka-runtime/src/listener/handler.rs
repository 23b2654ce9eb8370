//! The two traits that the macro implements on a hidden type per listener.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;

use super::{BatchDelivery, BatchFailure, Delivery, Failure};

/// Calls a handler for one record. Static per record; made dynamic once per batch by the container.
pub trait Handler: Send + Sync + 'static {
    /// Looks up once what every call needs. What is missing is noted in `preparation`, all of it.
    fn prepare(preparation: &mut Preparation<'_>) -> Prepared;

    /// Decodes, extracts, calls.
    fn call<'r>(
        prepared: &'r Prepared,
        delivery: Delivery<'r>,
    ) -> impl Future<Output = Result<(), Failure>> + Send + 'r;
}

/// Calls a handler for a batch of records of one partition.
pub trait BatchHandler: Send + Sync + 'static {
    /// As [`Handler::prepare`].
    fn prepare(preparation: &mut Preparation<'_>) -> Prepared;

    /// Decodes, extracts, calls.
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

/// What was looked up, by the argument's position. One fixed type, so that a wrong argument is exactly one error.
#[derive(Debug, Default)]
pub struct Prepared {
    pub(crate) slots: Vec<Option<Arc<dyn Any + Send + Sync>>>,
}
