//! Members of one group: services of ours that run the test's listener `shared`, and peers among them.

use std::collections::BTreeSet;
use std::time::Duration;

use kafka_runtime::prelude::*;

use crate::{Cluster, Peer, PeerKind, Probe, eventually};

const LIMIT: Duration = Duration::from_secs(60);
/// Of the topic that they share out.
pub const PARTITIONS: i32 = 6;

/// A topic that members of one group read with the listener `shared`, and their settings.
pub struct Fleet {
    /// Where it is.
    pub cluster: Cluster,
    /// What is read.
    pub topic: String,
    /// Kafka's settings of the members, as YAML between braces.
    properties: String,
}

impl Fleet {
    /// A new topic; `properties` as YAML between braces.
    pub async fn new(properties: &str) -> Self {
        let cluster = Cluster::start().await;
        let topic = cluster.topic("groups", PARTITIONS).await;
        Self { cluster, topic, properties: properties.to_owned() }
    }

    /// The group's id.
    pub fn group(&self) -> String {
        format!("{}-group", self.topic)
    }

    /// The configuration of a member.
    pub fn yaml(&self, more: &str) -> String {
        let own =
            format!("    properties: {{{}}}\nsuite: {{topic: {}}}\n{more}", self.properties, self.topic);
        self.cluster.yaml(&own)
    }

    /// A member more.
    pub async fn member(&self, probe: &Probe) -> RunningApp {
        self.member_with(probe, "").await
    }

    /// A member more, with settings of its own: YAML between braces.
    pub async fn member_with(&self, probe: &Probe, properties: &str) -> RunningApp {
        let yaml = self
            .yaml(&format!("kafka-runtime: {{listeners: {{shared: {{properties: {{{properties}}}}}}}}}\n"));
        App::from_yaml(&yaml).unwrap().only(["shared"]).state(probe.clone()).start().await.unwrap()
    }

    /// One record to each partition.
    pub async fn round(&self, app: &RunningApp, value: &str) {
        for partition in 0..PARTITIONS {
            let record = Record::to(&self.topic).partition(partition).text(value);
            app.template().send_record(record).await.unwrap();
        }
    }

    /// A record to each partition, again and again.
    pub async fn rounds(&self, app: &RunningApp) {
        loop {
            self.round(app, "for the peer").await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Sends rounds until the records of one of them came to `members` in the shares of a whole assignment: each
    /// partition at one member, and each member with some. `foreign`: somebody else has some too.
    pub async fn shared_out(&self, app: &RunningApp, members: &[&Probe], foreign: bool) {
        let mut round = 0;
        eventually("partitions are shared out", LIMIT, || {
            round += 1;
            let value = format!("round-{round}-{}", members.len());
            async move {
                self.round(app, &value).await;
                tokio::time::sleep(Duration::from_millis(300)).await;
                let shares: Vec<BTreeSet<i32>> =
                    members.iter().map(|probe| partitions(probe, &value)).collect();
                let total: usize = shares.iter().map(BTreeSet::len).sum();
                let wanted = PARTITIONS as usize;
                let whole = if foreign { total < wanted && total > 0 } else { total == wanted };
                whole && shares.iter().all(|share| !share.is_empty())
            }
        })
        .await;
    }

    /// Members come and go, and what they read in all is each record once.
    pub async fn two_and_three_of_ours(&self) {
        let (one, two, three) = (Probe::default(), Probe::default(), Probe::default());
        let first = self.member(&one).await;
        self.shared_out(&first, &[&one], false).await;
        let second = self.member(&two).await;
        self.shared_out(&first, &[&one, &two], false).await;
        let third = self.member(&three).await;
        self.shared_out(&first, &[&one, &two, &three], false).await;
        second.stop().await.unwrap();
        self.shared_out(&first, &[&one, &three], false).await;
        third.stop().await.unwrap();
        self.shared_out(&first, &[&one], false).await;
        first.stop().await.unwrap();
        // Clean hand-overs with a commit after each record: each was handled once, whoever had it.
        let mut all: Vec<(i32, i64)> = [&one, &two, &three]
            .iter()
            .flat_map(|probe| probe.seen())
            .map(|seen| (seen.partition, seen.offset))
            .collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count, "a record was handled twice");
        for partition in 0..PARTITIONS {
            let offsets: Vec<i64> =
                all.iter().filter(|(p, _)| *p == partition).map(|(_, offset)| *offset).collect();
            assert_eq!(
                offsets,
                (0..offsets.len() as i64).collect::<Vec<_>>(),
                "a record of partition {partition} was lost"
            );
        }
    }

    /// Another client comes in between members of ours, with this assignor or protocol, and leaves.
    pub async fn with_a_peer(&self, kind: PeerKind, assignor: &str) {
        let (one, two) = (Probe::default(), Probe::default());
        let first = self.member(&one).await;
        self.shared_out(&first, &[&one], false).await;
        let arguments = [&*self.group(), &self.topic, assignor];
        let Some(mut peer) = Peer::start(kind, "member", self.cluster.bootstrap(), &arguments) else {
            return;
        };
        // Its first assignment may be empty: records come until it has seen one.
        let lines = tokio::select! {
            lines = peer.until("record") => lines,
            () = self.rounds(&first) => unreachable!("rounds never end"),
        };
        assert!(lines.iter().any(|line| line[0] == "assigned"), "{lines:?}");
        self.shared_out(&first, &[&one], true).await;
        let second = self.member(&two).await;
        self.shared_out(&first, &[&one, &two], true).await;
        let rest = peer.finish().await;
        assert!(rest.iter().any(|line| line[0] == "left"), "the peer did not leave in peace: {rest:?}");
        self.shared_out(&first, &[&one, &two], false).await;
        first.stop().await.unwrap();
        self.shared_out(&second, &[&two], false).await;
        second.stop().await.unwrap();
    }
}

/// Partitions of this round's records that a probe saw.
fn partitions(probe: &Probe, value: &str) -> BTreeSet<i32> {
    probe.seen().iter().filter(|seen| seen.value == value).map(|seen| seen.partition).collect()
}
