//! The client: its I/O thread, and the handles to everything else.
//!
//! ```text
//!   Client, Consumer, Producer, Admin ── ClientContext ── keep_alive ──▶ thread "kafka-io"
//!        (the user's runtime)                └── io ──▶ tasks: refreshing, connections, fetch, group, sender
//! ```

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::protocol::StrBytes;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use crate::admin::Admin;
use crate::cluster::Cluster;
use crate::config::{ClientConfig, ConsumerConfig, ProducerConfig};
use crate::consumer::Consumer;
use crate::error::{Error, Result};
use crate::net::{Address, Pool};
use crate::producer::{Producer, TransactionalProducer};
use crate::seams::{Clock, Seams};

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

/// What everything that is made from a client shares.
///
/// Handles (what users hold) keep the context whole. A task on the I/O thread takes `cluster` and `io` out of it,
/// never the whole: the thread, and with it the task, would not end. (The end of a transaction has it whole, and is soon over.)
#[derive(Debug, Clone)]
pub(crate) struct ClientContext {
    pub(crate) cluster: Arc<Cluster>,
    /// `client.id` of the connections that are made for it.
    client_id: StrBytes,
    /// Where tasks are spawned.
    pub(crate) io: Handle,
    keep_alive: Arc<KeepAlive>,
}

impl ClientContext {
    /// New connections under this client's name.
    pub(crate) fn pool(&self) -> Arc<Pool> {
        Arc::new(Pool::new(Arc::clone(&self.cluster), self.client_id.clone()))
    }

    /// Runs a future on the I/O runtime and waits for it on whatever runtime the caller is. Dropping the wait aborts it.
    pub(crate) async fn on_io<T: Send + 'static>(
        &self,
        future: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let task = self.io.spawn(future);
        let _abort = AbortOnDrop(task.abort_handle());
        // A task is cancelled when the runtime ends under it.
        task.await.unwrap_or(Err(Error::Closed))
    }
}

impl ClientContext {
    /// A sleep on the I/O runtime, for callers whose own runtime may have no timers.
    pub(crate) fn sleep(&self, time: Duration) -> impl Future<Output = ()> + Send + use<> {
        // Spawned when it is first polled: most waits that have a deadline end at once.
        let io = self.io.clone();
        async move {
            let timer = io.spawn(async move { tokio::time::sleep(time).await });
            let _abort = AbortOnDrop(timer.abort_handle());
            let _ = timer.await;
        }
    }
}

/// Ends a task with its owner.
#[derive(Debug)]
pub(crate) struct AbortOnDrop(pub(crate) AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The I/O thread ends when the last of these goes.
#[derive(Debug)]
pub(crate) struct KeepAlive {
    /// Dropped with it.
    ended: Option<oneshot::Sender<()>>,
    /// The thread that keeps the metadata fresh, where that is another.
    _beside: Option<Arc<KeepAlive>>,
}

/// A connection to one cluster: one metadata cache and one I/O thread for all that is made from it. Clones share it, and
/// so do [`named`](Client::named) ones; the thread ends with the last handle made from it.
#[derive(Debug, Clone)]
pub struct Client {
    context: ClientContext,
    admin: Admin,
}

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
        if config.bootstrap_servers.is_empty() {
            return Err(Error::Config(
                "no bootstrap servers are given: host:port of a broker is needed".into(),
            ));
        }
        for server in &config.bootstrap_servers {
            Address::parse(server)?;
        }
        let (io, keep_alive) = match io {
            Io::OwnThread => own_thread(None)?,
            Io::Current => {
                let current = Handle::try_current()
                    .map_err(|_| Error::Config("Io::Current needs a tokio runtime around it".into()))?;
                (current, KeepAlive { ended: None, _beside: None })
            }
        };
        let cluster = {
            let _on_io = io.enter();
            Cluster::new(config, seams)
        };
        let client_id = StrBytes::from_string(cluster.config().client_id.clone());
        Ok(Self::of(ClientContext { cluster, client_id, io, keep_alive: Arc::new(keep_alive) }))
    }

    fn of(context: ClientContext) -> Self {
        let admin = Admin::new(context.clone(), context.pool());
        Self { context, admin }
    }

    /// This client under another `client.id`: what is made from it has connections of its own, and shares the metadata
    /// cache and the I/O thread. A hundred members of groups cost one thread that way, and one metadata request.
    #[must_use]
    pub fn named(&self, client_id: &str) -> Self {
        let client_id = StrBytes::from_string(client_id.to_owned());
        Self::of(ClientContext { client_id, ..self.context.clone() })
    }

    /// This client with an I/O thread of its own, and the same metadata cache: for what is worth a core, a producer
    /// beside the consumers. On [`Io::Current`] it is the same client.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn on_another_thread(&self) -> Result<Self> {
        if self.context.keep_alive.ended.is_none() {
            return Ok(self.clone());
        }
        let (io, keep_alive) = own_thread(Some(Arc::clone(&self.context.keep_alive)))?;
        Ok(Self::of(ClientContext { io, keep_alive: Arc::new(keep_alive), ..self.context.clone() }))
    }

    /// A new consumer: a member of its group, or a reader of fixed partitions.
    ///
    /// # Errors
    /// A configuration that cannot work.
    pub fn consumer(&self, config: ConsumerConfig) -> Result<Consumer> {
        Consumer::start(self.context.clone(), config)
    }

    /// A new producer.
    ///
    /// # Errors
    /// A configuration that cannot work.
    pub fn producer(&self, config: ProducerConfig) -> Result<Producer> {
        Producer::start(self.context.clone(), config)
    }

    /// A new producer of transactions; see there for what its transactional id means.
    ///
    /// # Errors
    /// A configuration that cannot work.
    pub fn transactional_producer(
        &self,
        config: ProducerConfig,
        transactional_id: &str,
    ) -> Result<TransactionalProducer> {
        TransactionalProducer::start(self.context.clone(), config, transactional_id, Arc::default())
    }

    /// What tells it the time.
    #[must_use]
    pub fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.context.cluster.seams().clock)
    }

    /// Administration.
    #[must_use]
    pub fn admin(&self) -> Admin {
        self.admin.clone()
    }
}

/// A thread with a runtime of its own.
fn own_thread(beside: Option<Arc<KeepAlive>>) -> Result<(Handle, KeepAlive)> {
    let failed = |error: std::io::Error| Error::Config(format!("the I/O thread cannot be started: {error}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let handle = runtime.handle().clone();
    let (ended, until) = oneshot::channel::<()>();
    let run = move || {
        let _ = runtime.block_on(until);
        // Not a drop: that would wait for a name that is being resolved.
        runtime.shutdown_background();
    };
    std::thread::Builder::new().name("kafka-io".into()).spawn(run).map_err(failed)?;
    Ok((handle, KeepAlive { ended: Some(ended), _beside: beside }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_checked_before_anything_runs() {
        for servers in [vec![], vec!["localhost".to_owned()], vec!["a:1".into(), "b:x".into()]] {
            let config = ClientConfig { bootstrap_servers: servers, ..ClientConfig::default() };
            assert!(matches!(Client::new(config), Err(Error::Config(_))));
        }
        let current = Client::with_seams(ClientConfig::default(), Seams::default(), Io::Current);
        assert!(matches!(current, Err(Error::Config(_))), "no runtime here");
    }

    #[test]
    fn the_io_thread_ends_with_the_last_handle() {
        let client = Client::new(ClientConfig::default()).unwrap();
        let admin = client.admin();
        let (witness, gone) = std::sync::mpsc::channel::<()>();
        // Dropped with the runtime, at the latest.
        client.context.io.spawn(async move {
            let _witness = witness;
            std::future::pending::<()>().await;
        });
        drop(client);
        assert_eq!(gone.try_recv(), Err(std::sync::mpsc::TryRecvError::Empty));
        drop(admin);
        let ended = gone.recv_timeout(Duration::from_secs(20));
        assert_eq!(ended, Err(std::sync::mpsc::RecvTimeoutError::Disconnected));
    }
}
