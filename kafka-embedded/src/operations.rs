//! What can be done to a running cluster: brokers that stop, are cut off and come back, leaders and coordinators that
//! move.

use std::sync::Arc;

use kafka_protocol::messages::TopicName;
use kafka_protocol::protocol::StrBytes;
use tokio::sync::oneshot;

use crate::brokers::Mode;
use crate::builder::Error;
use crate::replicas::NOBODY;
use crate::running::EmbeddedKafka;
use crate::server::listener::Door;
use crate::topics::{Partition, Topic};

/// The cluster as an operator, or a bad day, treats it. Brokers are named by their ids: 1, 2, ...
///
/// ```
/// # use kafka_embedded::EmbeddedKafka;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), kafka_embedded::Error> {
/// let kafka = EmbeddedKafka::builder().brokers(3).topic("orders", 1).start().await?;
/// let leader = kafka.leader("orders", 0).unwrap();
/// kafka.stop_broker(leader).await?;
/// assert_ne!(kafka.leader("orders", 0), Some(leader), "another replica leads, in a new epoch");
/// kafka.start_broker(leader).await?;
/// kafka.move_leader("orders", 0, leader)?;
/// assert_eq!(kafka.leader("orders", 0), Some(leader));
/// # Ok(())
/// # }
/// ```
impl EmbeddedKafka {
    /// Stops a broker: its connections are closed and its port refuses others. In-sync replicas on other brokers lead
    /// its partitions, each in a new epoch; partitions without one have no leader. Its data is kept; what is written
    /// meanwhile it lacks until it is started again and somebody else leads.
    ///
    /// # Errors
    /// There is no such broker.
    pub async fn stop_broker(&self, id: i32) -> Result<(), Error> {
        self.set_mode(id, Mode::Stopped)?;
        self.cluster().fence(id);
        self.close_door(id).await;
        Ok(())
    }

    /// Kills a broker, as a process that dies: its connections end and its port refuses others, but the cluster counts on it until the
    /// [broker's session timeout](crate::Builder::broker_session_timeout) is over. Until then nobody leads its partitions, and the
    /// groups that it coordinates have no coordinator, though they are told that it is this one.
    /// [`start_broker`](Self::start_broker) starts it again.
    ///
    /// # Errors
    /// There is no such broker.
    pub async fn kill_broker(&self, id: i32) -> Result<(), Error> {
        self.set_mode(id, Mode::Stopped)?;
        self.cluster().coordinates(id, false);
        self.close_door(id).await;
        Ok(())
    }

    async fn close_door(&self, id: i32) {
        let (done, closed) = oneshot::channel();
        if self.tell_door(id, Door::Close(done)) {
            // An error means that the cluster has ended.
            let _ = closed.await;
        }
    }

    /// Starts a stopped or killed broker again, at the same address. It is in sync at once, and leads only what nobody leads: see
    /// [`elect_preferred_leaders`](Self::elect_preferred_leaders).
    ///
    /// # Errors
    /// There is no such broker, or its port has been taken by another process.
    pub async fn start_broker(&self, id: i32) -> Result<(), Error> {
        self.set_mode(id, Mode::Running)?;
        let (done, opened) = oneshot::channel();
        if self.tell_door(id, Door::Open(done))
            && let Ok(Err(source)) = opened.await
        {
            self.set_mode(id, Mode::Stopped)?;
            let node = self.cluster().node(id).ok_or(Error::NoBroker(id))?;
            return Err(Error::Bind { address: node.address(), source });
        }
        self.cluster().unfence(id);
        self.cluster().coordinates(id, true);
        Ok(())
    }

    /// Cuts a broker off, as a network that swallows every packet: connections stay open and are accepted, and nothing
    /// is ever read or answered. After the [broker's session timeout](crate::Builder::broker_session_timeout) the
    /// others give it up, as if it had stopped.
    ///
    /// # Errors
    /// There is no such broker.
    pub fn cut_off_broker(&self, id: i32) -> Result<(), Error> {
        self.set_mode(id, Mode::CutOff)
    }

    /// Ends what [`cut_off_broker`](Self::cut_off_broker) began: what came meanwhile is read and answered now.
    ///
    /// # Errors
    /// There is no such broker.
    pub fn reconnect_broker(&self, id: i32) -> Result<(), Error> {
        // A stopped one stays stopped.
        if self.cluster().brokers.mode(id) == Some(Mode::Stopped) {
            return Ok(());
        }
        self.set_mode(id, Mode::Running)?;
        self.cluster().unfence(id);
        Ok(())
    }

    /// The leader of a partition; `None` where it has none, or does not exist.
    #[must_use]
    pub fn leader(&self, topic: &str, partition: i32) -> Option<i32> {
        let (_, partition) = self.partition(topic, partition).ok()?;
        let leader = partition.lock().replicas.leader();
        (leader != NOBODY).then_some(leader)
    }

    /// Makes `broker` lead a partition, in a new epoch.
    ///
    /// # Errors
    /// There is no such partition, or the broker holds no in-sync replica of it.
    pub fn move_leader(&self, topic: &str, partition: i32, broker: i32) -> Result<(), Error> {
        let (of, found) = self.partition(topic, partition)?;
        let moved =
            self.cluster().change_replicas(&of, &found, |replicas, rules| replicas.move_to(broker, rules));
        moved.map_err(|reason| Error::CannotLead { broker, topic: topic.to_owned(), partition, reason })
    }

    /// Makes `broker` lead a partition although it lacks the records from offset `end` on, as an unclean election does
    /// (`unclean.leader.election.enable`): they are gone for good, and others take their offsets in the new epoch. Clients
    /// that have read them find out by that epoch (KIP-320). Returns where the log ends now, which is `end` or the
    /// beginning of the batch that holds it, since replicas have whole batches; or earlier, if the broker was gone while the
    /// rest was written. (An election that ElectLeaders or the topic's config makes loses just that.)
    ///
    /// ```
    /// # use kafka_embedded::EmbeddedKafka;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), kafka_embedded::Error> {
    /// let kafka = EmbeddedKafka::builder().brokers(2).topic("orders", 1).start().await?;
    /// let leader = kafka.leader("orders", 0).unwrap();
    /// let other = 3 - leader;
    /// // ... records are produced, and read ...
    /// assert_eq!(kafka.elect_unclean_leader("orders", 0, other, 0)?, 0);
    /// assert_eq!(kafka.leader("orders", 0), Some(other));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// There is no such partition; the broker holds none of its replicas, does not live, or leads it already; `end` is
    /// outside its log.
    pub fn elect_unclean_leader(
        &self,
        topic: &str,
        partition: i32,
        broker: i32,
        end: i64,
    ) -> Result<i64, Error> {
        let (_, found) = self.partition(topic, partition)?;
        let is_live = |id| self.cluster().brokers.is_live(id);
        let mut state = found.lock();
        let elected = state.lose_to(broker, end, &is_live);
        elected.map_err(|reason| Error::CannotLead { broker, topic: topic.to_owned(), partition, reason })
    }

    /// Makes the first replica of each partition its leader again, where it lives: what Kafka does on its own after
    /// `leader.imbalance.check.interval.seconds`, and ElectLeaders on request.
    pub fn elect_preferred_leaders(&self) {
        self.cluster().elect_preferred();
    }

    /// The coordinator of a group or a transactional id; `None` where it has lost it.
    #[must_use]
    pub fn coordinator(&self, key: &str) -> Option<i32> {
        self.cluster().coordinator(key).map(|node| node.id)
    }

    /// Makes `broker` coordinate a group or a transactional id. The one before answers NOT_COORDINATOR.
    ///
    /// # Errors
    /// There is no such broker.
    pub fn move_coordinator(&self, key: &str, broker: i32) -> Result<(), Error> {
        self.cluster().node(broker).ok_or(Error::NoBroker(broker))?;
        self.cluster().move_coordinator(key, Some(broker));
        Ok(())
    }

    fn set_mode(&self, id: i32, mode: Mode) -> Result<(), Error> {
        self.cluster().node(id).ok_or(Error::NoBroker(id))?;
        self.cluster().brokers.set_mode(id, mode);
        Ok(())
    }

    fn partition(&self, topic: &str, index: i32) -> Result<(Arc<Topic>, Arc<Partition>), Error> {
        let name = TopicName(StrBytes::from_string(topic.to_owned()));
        let found = self.cluster().topics.by_name(&name).and_then(|topic| {
            let partition = Arc::clone(topic.partition(index)?);
            Some((topic, partition))
        });
        found.ok_or_else(|| Error::NoPartition { topic: topic.to_owned(), partition: index })
    }
}
