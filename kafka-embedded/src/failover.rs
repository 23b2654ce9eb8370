//! What follows when a broker goes or comes back: leaders, in-sync replicas, coordinators.

use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::protocol::StrBytes;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::brokers::Mode;
use crate::cluster::Cluster;
use crate::replicas::{Replicas, Rules};
use crate::topics::{Partition, Topic};

impl Cluster {
    /// Gives a broker up: others lead what it led, and coordinate what it coordinated.
    pub(crate) fn fence(&self, id: i32) {
        let before = self.coordinated();
        if !self.brokers.set_fenced(id, true) {
            return;
        }
        let live: Vec<i32> = self.live_nodes().map(|node| node.id).collect();
        self.coordinators.gone(id, &live);
        self.tell_moved(before);
        self.each_partition(|replicas, rules| replicas.gone(id, rules));
    }

    /// Takes a broker back: it is in sync at once, and leads what nobody leads.
    pub(crate) fn unfence(&self, id: i32) {
        let before = self.coordinated();
        if !self.brokers.set_fenced(id, false) {
            return;
        }
        self.coordinators.back(id);
        self.tell_moved(before);
        self.each_partition(|replicas, rules| replicas.back(id, rules));
    }

    /// Tells the groups of a broker whether it coordinates them, or has died and is not given up yet.
    pub(crate) fn coordinates(&self, id: i32, is_there: bool) {
        for (group, _) in self.coordinated().into_iter().filter(|(_, coordinator)| *coordinator == Some(id)) {
            self.groups.moved(&group, is_there);
        }
    }

    /// All groups, each with its coordinator.
    fn coordinated(&self) -> Vec<(StrBytes, Option<i32>)> {
        let groups = self.groups.ids().into_iter();
        groups.map(|group| (group.clone(), self.coordinator(&group).map(|node| node.id))).collect()
    }

    /// Tells the groups whose coordinator is another one than `before`.
    fn tell_moved(&self, before: Vec<(StrBytes, Option<i32>)>) {
        for (group, before) in before {
            let now = self.coordinator(&group).map(|node| node.id);
            if now != before {
                self.groups.moved(&group, now.is_some());
            }
        }
    }

    fn each_partition(&self, change: impl Fn(&mut Replicas, Rules<'_>)) {
        for topic in self.topics.all() {
            for partition in &topic.partitions {
                self.change_replicas(&topic, partition, &change);
            }
        }
    }

    /// Changes who holds or leads a partition. What its new leader lacks is gone.
    pub(crate) fn change_replicas<T>(
        &self,
        topic: &Topic,
        partition: &Partition,
        change: impl FnOnce(&mut Replicas, Rules<'_>) -> T,
    ) -> T {
        let mut state = partition.lock();
        let rules = Rules {
            is_live: &|id| self.brokers.is_live(id),
            min_in_sync: topic.configs.min_in_sync,
            unclean: topic.configs.unclean,
            end: state.log.end(),
        };
        state.lead_anew(|replicas| change(replicas, rules))
    }

    /// Gives a group or a transactional id another coordinator, or takes it away.
    pub(crate) fn move_coordinator(&self, key: &str, to: Option<i32>) {
        self.coordinators.choose(key, to);
        self.groups.moved(key, self.coordinator(key).is_some());
    }

    /// Makes the first replica of each partition its leader, where it lives, is in sync, and another one leads.
    pub(crate) fn elect_preferred(&self) {
        self.each_partition(|replicas, rules| {
            // Most lead already.
            let _: Result<(), ResponseError> = replicas.elect_preferred(rules);
        });
    }

    /// The replicas whose brokers are gone.
    pub(crate) fn offline(&self, replicas: &Replicas) -> Vec<i32> {
        replicas.all().iter().copied().filter(|id| !self.brokers.is_live(*id)).collect()
    }
}

/// Gives broker `id` up whenever it has been cut off, or dead, for as long as its session lasts.
pub(crate) async fn run_session(cluster: Arc<Cluster>, id: i32, mut stopped: watch::Receiver<()>) {
    let Some(life) = cluster.brokers.watch(id) else { return };
    loop {
        let silent = life.now().mode != Mode::Running && cluster.brokers.is_live(id);
        tokio::select! {
            biased;
            () = life.changed() => {}
            () = sleep(cluster.settings.broker_session_timeout), if silent => cluster.fence(id),
            _ = stopped.changed() => return,
        }
    }
}
