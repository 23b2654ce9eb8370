//! The client: its I/O thread, and the handles to everything else.

use crate::admin::Admin;
use crate::config::{ClientConfig, ConsumerConfig, ProducerConfig};
use crate::consumer::Consumer;
use crate::error::Result;
use crate::producer::Producer;
use crate::seams::Seams;

/// Where sockets, groups and timers run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Io {
    /// On a thread of the client's own (a `current_thread` runtime), so that handlers that block or spin never stop
    /// a heartbeat. **(default)**
    #[default]
    OwnThread,
    /// On the tokio runtime of the caller: for simulations with paused time.
    Current,
}

/// A connection to one cluster: one metadata cache and one I/O thread for all that is made from it. Clones share it;
/// the thread ends with the last handle made from it.
#[derive(Debug, Clone)]
pub struct Client {}

impl Client {
    /// A client with the system's sockets and clocks. Nothing is connected yet: brokers may come later.
    ///
    /// # Errors
    /// A bootstrap address that is none; a thread that cannot be started.
    pub fn new(config: ClientConfig) -> Result<Self> {
        Self::with_seams(config, Seams::default(), Io::OwnThread)
    }

    /// A client with everything given in.
    ///
    /// # Errors
    /// As [`Client::new`].
    pub fn with_seams(config: ClientConfig, seams: Seams, io: Io) -> Result<Self> {
        let _ = (config, seams, io);
        todo!()
    }

    /// A new consumer: a member of its group, or a reader of fixed partitions.
    ///
    /// # Errors
    /// A configuration that cannot work.
    pub fn consumer(&self, config: ConsumerConfig) -> Result<Consumer> {
        let _ = config;
        todo!()
    }

    /// A new producer.
    ///
    /// # Errors
    /// A configuration that cannot work.
    pub fn producer(&self, config: ProducerConfig) -> Result<Producer> {
        let _ = config;
        todo!()
    }

    /// Administration.
    #[must_use]
    pub fn admin(&self) -> Admin {
        todo!()
    }
}
