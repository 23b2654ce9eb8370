//! The application: what is registered, and what is configured, at work until it is told to stop.
//!
//! ```text
//!   #[kafka_listener] ──▶ registry ──┐
//!   application.yml ────▶ Config ────┼──▶ checks, all problems at once ──▶ RunningApp ──▶ stop ──▶ Summary
//!   .state(value) ──────▶ states ────┘
//!
//!   Listeners ── demands ──▶ crew (one per listener) ──▶ prepare ──▶ members (container)
//! ```

mod clients;
mod crew;
mod declare;
mod failing;
#[cfg(feature = "rskafka")]
mod late;
mod listeners;
mod prepare;
mod registry;
mod retries;
mod running;
mod signal;
mod start;
mod summary;

use std::any::{Any, TypeId};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;

pub use self::listeners::{Answer, ListenerError, ListenerHandle, Listeners};
pub use self::running::RunningApp;
pub use self::signal::shutdown_signal;
pub use self::summary::Summary;
use kafka_client::config::{ChoosePartition, OwnPartitioner};
use kafka_client::seams::Seams;

use crate::config::{Config, Explanation};
use crate::container::{Check, CommitEvent, CommitHook, ListenerEvent};
use crate::error::Result;
use crate::listener::{ListenerDescriptor, States};
use crate::template::Interceptor;

/// An application that is put together: configuration, states, a choice of listeners.
///
/// ```no_run
/// use kafka_runtime::prelude::*;
///
/// #[derive(Debug, Deserialize)]
/// struct Order { id: u64 }
///
/// #[kafka_listener(topic = "orders", group = "billing")]
/// async fn bill(order: Order) { println!("billing {}", order.id); }
///
/// #[tokio::main]
/// async fn main() -> Result<(), kafka_runtime::Error> {
///     App::from_config("application.yml")?.run().await
/// }
/// ```
#[must_use = "an application does nothing until it is run"]
pub struct App {
    config: Config,
    states: States,
    only: Option<Vec<String>>,
    on_commit: Option<CommitHook>,
    interceptors: Vec<Arc<dyn Interceptor>>,
    on_event: Option<EventHook>,
    checks: BTreeMap<String, Check>,
    seams: Option<Seams>,
}

/// An event callback.
type EventHook = Arc<dyn Fn(&ListenerEvent) + Send + Sync>;

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App").field("only", &self.only).finish_non_exhaustive()
    }
}

impl App {
    /// The application that `path` configures, with the profiles' files beside it, the environment and the command
    /// line, as Spring Boot reads them.
    ///
    /// # Errors
    /// The file cannot be read, is no YAML, or has keys that nobody knows.
    pub fn from_config(path: impl Into<PathBuf>) -> Result<Self> {
        Ok(Self::with_config(Config::builder().listeners(registry::linked()).file(path).load()?))
    }

    /// The application that this text configures, as if it stood in `application.yml`; environment and command line
    /// count as well.
    ///
    /// # Errors
    /// As [`App::from_config`].
    pub fn from_yaml(text: impl Into<String>) -> Result<Self> {
        let builder = Config::builder().listeners(registry::linked());
        Ok(Self::with_config(builder.yaml("application.yml", text).load()?))
    }

    /// The application of a configuration that was put together by hand, see [`Config::builder`].
    pub fn with_config(config: Config) -> Self {
        Self {
            config,
            states: States::new(),
            only: None,
            on_commit: None,
            interceptors: Vec::new(),
            on_event: None,
            checks: BTreeMap::new(),
            seams: None,
        }
    }

    /// Sets a key, stronger than file, environment and command line. A mistake in it is told at the start.
    pub fn property(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.config.set(key, value);
        self
    }

    /// Gives handlers a value: one for each type, which they ask for as `State<T>`.
    pub fn state<T: Send + Sync + 'static>(mut self, value: T) -> Self {
        self.states.insert(TypeId::of::<T>(), Arc::new(value) as Arc<dyn Any + Send + Sync>);
        self
    }

    /// Says by this name whether something that handlers need is there: listeners with `pause_when = "name"` (or
    /// `pause-when: name`) pause while the check fails, and say so in status, health and events. It is asked before the
    /// first record, then at the listener's interval, and at once when a try has failed in a way that may pass: that try
    /// counts only if the answer is good. An answer that takes longer than the interval is a bad one.
    ///
    /// ```no_run
    /// # use kafka_runtime::prelude::*;
    /// # struct Bank;
    /// # impl Bank { async fn ping(&self) -> Result<(), std::io::Error> { Ok(()) } }
    /// #[kafka_listener(topic = "payments", group = "billing", pause_when = "bank")]
    /// async fn pay(payment: String, bank: State<Bank>) {}
    ///
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), kafka_runtime::Error> {
    /// let bank = std::sync::Arc::new(Bank);
    /// let check = move || {
    ///     let bank = bank.clone();
    ///     async move { bank.ping().await }
    /// };
    /// App::from_config("application.yml")?.state(Bank).downstream("bank", check).run().await
    /// # }
    /// ```
    pub fn downstream<F, R, E>(mut self, name: impl Into<String>, check: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = std::result::Result<(), E>> + Send + 'static,
        E: Display,
    {
        self.checks.insert(name.into(), Check::new(check));
        self
    }

    /// Runs only these listeners: for tests, and for programs that have several roles.
    pub fn only<'a>(mut self, ids: impl IntoIterator<Item = &'a str>) -> Self {
        self.only = Some(ids.into_iter().map(str::to_owned).collect());
        self
    }

    /// For tests: reaches brokers through these (a transport that counts or cuts, a clock of the test's own), on the
    /// runtime that starts the application instead of threads of its own.
    #[cfg(feature = "testing")]
    pub fn over(mut self, seams: Seams) -> Self {
        self.seams = Some(seams);
        self
    }

    /// Is called after each commit request, whatever came of it, on the runtime of the listeners: keep it short.
    pub fn on_commit(mut self, callback: impl Fn(&CommitEvent) + Send + Sync + 'static) -> Self {
        self.on_commit = Some(Arc::new(callback));
        self
    }

    /// Sees every record that the template sends; several are called in the order in which they were given.
    pub fn interceptor(mut self, interceptor: impl Interceptor) -> Self {
        self.interceptors.push(Arc::new(interceptor));
        self
    }

    /// Gives `partitioner.class` (under `spring.kafka.producer.properties`) one more name, by which the template's records
    /// find their partitions: your own way, where none of the built-in ones will do.
    ///
    /// ```no_run
    /// use kafka_runtime::prelude::*;
    /// use kafka_runtime::template::{Choice, ChoosePartition, OutgoingRecord, partition_for_key};
    ///
    /// /// What is urgent has the last partition to itself.
    /// #[derive(Debug)]
    /// struct ByUrgency;
    ///
    /// impl ChoosePartition for ByUrgency {
    ///     fn choose(&self, record: &OutgoingRecord<'_>, choice: &Choice<'_>) -> i32 {
    ///         let last = choice.partitions - 1;
    ///         match record.key {
    ///             Some(key) if !key.starts_with(b"urgent") => partition_for_key(key, last.max(1)),
    ///             _ => last,
    ///         }
    ///     }
    /// }
    ///
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), kafka_runtime::Error> {
    /// // spring.kafka.producer.properties.partitioner.class: by-urgency
    /// App::from_config("application.yml")?.partitioner("by-urgency", ByUrgency).run().await
    /// # }
    /// ```
    pub fn partitioner(mut self, name: impl Into<String>, partitioner: impl ChoosePartition) -> Self {
        self.config.add_partitioner(name.into(), OwnPartitioner::new(partitioner));
        self
    }

    /// Is called for each event of a listener, from the first start on, in a task of its own: a slow callback holds
    /// nothing up, and misses events (it is told how many) when 1024 wait for it. See
    /// [`Listeners::events`] for a stream.
    pub fn on_event(mut self, callback: impl Fn(&ListenerEvent) + Send + Sync + 'static) -> Self {
        self.on_event = Some(Arc::new(callback));
        self
    }

    /// The configuration, for the application's own keys.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Every value in force with where it came from; secrets are masked.
    #[must_use]
    pub fn explain_config(&self) -> Explanation {
        self.config.explain(&registry::linked())
    }

    /// Starts everything and returns at once; brokers may come later.
    ///
    /// # Errors
    /// All that is wrong with the configuration, the listeners and what they need; nothing was started then.
    pub async fn start(self) -> Result<RunningApp> {
        start::start(self).await
    }

    /// Runs until Ctrl-C or SIGTERM, then stops gracefully: fetching ends, handlers in hand finish, offsets are
    /// committed, groups are left, sends are flushed. A second signal ends it at once.
    ///
    /// # Errors
    /// As [`App::start`]; all listeners failed for good; something was left undone at the end.
    pub async fn run(self) -> Result<()> {
        let running = self.start().await?;
        running.run_until(shutdown_signal(), shutdown_signal()).await
    }

    /// [`App::run`] until `stop` is ready. No signal is listened for.
    ///
    /// # Errors
    /// As [`App::run`].
    pub async fn run_until(self, stop: impl Future<Output = ()>) -> Result<()> {
        let running = self.start().await?;
        running.run_until(stop, std::future::pending()).await
    }
}

/// The listeners that are linked into this program, by id.
#[must_use]
pub fn linked_listeners() -> Vec<&'static ListenerDescriptor> {
    registry::linked()
}
