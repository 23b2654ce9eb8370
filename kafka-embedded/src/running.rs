//! A started cluster.

use std::sync::Arc;
use std::thread;

use kafka_client::seams::{Rng, Seams};
use tokio::sync::{mpsc, oneshot, watch};

use crate::builder::{Builder, Error};
use crate::cluster::{Cluster, Node};
use crate::failover::run_session;
use crate::faults::Faults;
use crate::housekeeping::CompactError;
use crate::server::listener::{self, Door, Listener};
use crate::transport::InMemoryTransport;

/// A running cluster. It ends with this value: connections are closed, ports freed and all data forgotten.
#[derive(Debug)]
#[must_use = "the cluster ends when this is dropped"]
pub struct EmbeddedKafka {
    cluster: Arc<Cluster>,
    /// How the port of each broker is opened and closed; none in memory.
    doors: Vec<(i32, mpsc::UnboundedSender<Door>)>,
    /// Dropped to stop everything.
    stop: watch::Sender<()>,
    /// Resolves when the broker's thread has ended; none where it runs on the caller's.
    ended: Option<oneshot::Receiver<()>>,
}

impl EmbeddedKafka {
    /// A cluster of one broker on a free loopback port, unless told otherwise.
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(crate) async fn on_thread(
        cluster: Arc<Cluster>,
        listeners: Vec<(Node, Listener)>,
    ) -> Result<Self, Error> {
        let (stop, stopped) = watch::channel(());
        let (end, ended) = oneshot::channel();
        let (ready, started) = oneshot::channel();
        let (doors, listeners) = listeners
            .into_iter()
            .map(|(node, listener)| {
                let (door, commands) = mpsc::unbounded_channel();
                ((node.id, door), (node, listener, commands))
            })
            .unzip();
        let shared = Arc::clone(&cluster);
        let run = move || {
            let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(error) => return drop(ready.send(Err(Error::Thread(error)))),
            };
            runtime.block_on(listener::run(shared, listeners, stopped, ready));
            // Whatever still runs ends here, and with it the connections.
            drop(runtime);
            let _ = end.send(());
        };
        thread::Builder::new().name("kafka-embedded".to_owned()).spawn(run).map_err(Error::Thread)?;
        let lost = |_| Error::Thread(std::io::Error::other("it ended at once"));
        started.await.map_err(lost)??;
        Ok(Self { cluster, doors, stop, ended: Some(ended) })
    }

    pub(crate) fn on_current_runtime(cluster: Arc<Cluster>) -> Self {
        let (stop, mut stopped) = watch::channel(());
        let shared = Arc::clone(&cluster);
        tokio::spawn(async move {
            tokio::select! {
                biased;
                () = shared.run_timers() => {}
                _ = stopped.changed() => {}
            }
        });
        for node in &cluster.nodes {
            tokio::spawn(run_session(Arc::clone(&cluster), node.id, stop.subscribe()));
        }
        Self { cluster, doors: Vec::new(), stop, ended: None }
    }

    pub(crate) fn cluster(&self) -> &Arc<Cluster> {
        &self.cluster
    }

    /// Opens or closes a broker's port; `false` where it has none.
    pub(crate) fn tell_door(&self, id: i32, command: Door) -> bool {
        let door = self.doors.iter().find(|(owner, _)| *owner == id);
        door.is_some_and(|(_, door)| door.send(command).is_ok())
    }

    /// `host:port` of every broker, separated by commas: Kafka's `bootstrap.servers`.
    #[must_use]
    pub fn bootstrap_servers(&self) -> String {
        self.cluster.nodes.iter().map(Node::address).collect::<Vec<_>>().join(",")
    }

    /// Whether it is served over pipes in memory, on the runtime that started it.
    #[must_use]
    pub fn is_in_memory(&self) -> bool {
        self.ended.is_none()
    }

    /// What a client connects through to a cluster in memory. (Clients of a cluster on TCP need none; there, this
    /// gives a transport to the same brokers, whose tasks run where the client's do.)
    #[must_use]
    pub fn transport(&self) -> InMemoryTransport {
        InMemoryTransport::new(Arc::clone(&self.cluster), self.stop.subscribe())
    }

    /// What a client of a cluster in memory is made with: its transport, its clock, and chance that follows from its
    /// [seed](Builder::seed). Each call gives other numbers, so that clients do not do the same at the same time; a run
    /// that makes the same calls gets the same ones.
    ///
    /// ```
    /// # use kafka_client::{Client, Io};
    /// # use kafka_client::config::ClientConfig;
    /// # use kafka_embedded::EmbeddedKafka;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let kafka = EmbeddedKafka::builder().topic("orders", 1).seed(7).in_memory().start().await?;
    /// let config = ClientConfig { bootstrap_servers: vec![kafka.bootstrap_servers()], ..ClientConfig::default() };
    /// let client = Client::with_seams(config, kafka.seams(), Io::Current)?;
    /// assert!(client.admin().describe_topics(&["orders"]).await.is_ok());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn seams(&self) -> Seams {
        Seams {
            transport: Arc::new(self.transport()),
            clock: Arc::clone(&self.cluster.clock),
            rng: Arc::new(Rng::seeded(self.cluster.rng.next_u64())),
        }
    }

    /// Compacts a topic with `cleanup.policy=compact` now, as Kafka's cleaner does some time: of each key the last
    /// record stays, and so do offsets, which leaves gaps. A tombstone goes in a compaction that comes more than the
    /// topic's `delete.retention.ms` after the first that met it. Neither an open transaction nor the last batch of a
    /// partition (Kafka's active segment) is touched, and what those say of a key takes nothing from the records before.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let kafka = kafka_embedded::EmbeddedKafka::builder().topic("orders", 1).start().await.unwrap();
    /// // Only a topic that is to be compacted is.
    /// assert!(kafka.compact("orders").is_err());
    /// # }
    /// ```
    ///
    /// # Errors
    /// No such topic, or one that is not to be compacted.
    pub fn compact(&self, topic: &str) -> Result<(), CompactError> {
        self.cluster.compact(topic)
    }

    /// Drops now what `retention.ms` and `retention.bytes` keep no longer, in all topics that delete. It happens by
    /// itself every [`Builder::retention_check_interval`]; `retention.bytes` is kept to at every append. Each batch
    /// counts as what Kafka calls a segment.
    pub fn enforce_retention(&self) {
        self.cluster.enforce_retention();
    }

    /// Makes things go wrong: see [`Faults`].
    #[must_use]
    pub fn faults(&self) -> Faults {
        Faults::new(Arc::clone(&self.cluster))
    }

    /// Stops the brokers and waits until their ports are free. Dropping the value stops them as well, without waiting.
    pub async fn shutdown(self) {
        let Self { stop, ended, .. } = self;
        drop(stop);
        if let Some(ended) = ended {
            // An error means that the thread has ended already.
            let _ = ended.await;
        }
    }
}
