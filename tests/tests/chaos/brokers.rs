//! Who makes trouble for brokers, and for the connections to them.

use std::sync::Arc;
use std::time::Duration;

use kafka_client::seams::Rng;
use kafka_embedded::EmbeddedKafka;
use tests::{Cluster, Nodes, Proxies};
use tokio::time::Instant;

use crate::say;

/// Longer than any request waits for its answer.
const SILENT: Duration = Duration::from_secs(8);

/// The brokers of the cluster, and the proxies before them.
pub struct Brokers {
    cluster: Arc<Cluster>,
    apache: Option<(Nodes, Proxies)>,
}

impl Brokers {
    /// `None`, loudly, on a cluster whose nodes cannot be killed.
    pub async fn of(cluster: Arc<Cluster>) -> Option<Self> {
        let apache = match cluster.is_apache() {
            false => None,
            true => Some((Nodes::at_least(3)?, Proxies::start().await.expect("KAFKA_PROXIES"))),
        };
        Some(Self { cluster, apache })
    }

    /// Where members go.
    pub fn bootstrap(&self) -> String {
        let proxies = self.apache.as_ref().map(|(_, proxies)| proxies.bootstrap());
        proxies.unwrap_or_else(|| self.cluster.bootstrap().to_owned())
    }

    /// Kills brokers, cuts and silences connections, one thing at a time.
    pub async fn trouble(&self, rng: Rng, until: Instant, topics: &[String]) {
        loop {
            tokio::time::sleep(Duration::from_millis(1000 + rng.below(3000))).await;
            if Instant::now() > until {
                return;
            }
            let (node, act, pause) = (rng.below(3), rng.below(5), Duration::from_millis(rng.below(3000)));
            match (&self.apache, self.cluster.embedded()) {
                (Some((nodes, proxies)), _) => {
                    let node = usize::try_from(node + 1).expect("few");
                    self.on_apache((nodes, proxies), node, act, pause, topics).await;
                }
                (None, Some(embedded)) => {
                    let id = i32::try_from(node + 1).expect("few");
                    on_embedded(embedded, id, act, pause, topics).await;
                }
                (None, None) => unreachable!("a cluster is one or the other"),
            }
        }
    }

    async fn on_apache(
        &self,
        (nodes, proxies): (&Nodes, &Proxies),
        node: usize,
        act: u64,
        pause: Duration,
        topics: &[String],
    ) {
        match act {
            0 | 1 => {
                say(format_args!("brokers: kill node {node} for {pause:?}"));
                nodes.restart(node, pause).await;
                // The next one when all replicas have caught up, so that no two are missing at once.
                let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
                nodes.in_sync(&self.cluster, &topics).await;
            }
            2 | 3 => {
                say(format_args!("brokers: cut the connections to node {node}"));
                proxies.cut(node);
            }
            _ => {
                say(format_args!("brokers: node {node} is silent for {SILENT:?}"));
                proxies.silence(node, SILENT).await;
            }
        }
    }
}

async fn on_embedded(embedded: &EmbeddedKafka, id: i32, act: u64, pause: Duration, groups: &[String]) {
    match act {
        0 | 1 => {
            say(format_args!("brokers: stop broker {id} for {pause:?}"));
            embedded.stop_broker(id).await.expect("it stops");
            tokio::time::sleep(pause).await;
            embedded.start_broker(id).await.expect("it starts");
        }
        2 => {
            say(format_args!("brokers: broker {id} is cut off for {SILENT:?}"));
            embedded.cut_off_broker(id).expect("it is there");
            tokio::time::sleep(SILENT).await;
            embedded.reconnect_broker(id).expect("it is there");
        }
        3 => {
            say(format_args!("brokers: connections to broker {id} break for {pause:?}"));
            let fault = embedded.faults().on_any().broker(id).with_chance(0.1).close();
            tokio::time::sleep(pause).await;
            fault.remove();
        }
        _ => {
            say(format_args!("brokers: all groups rebalance"));
            // One that nobody has joined yet has nothing to share out.
            groups.iter().for_each(|group| _ = embedded.faults().force_rebalance(group));
        }
    }
}
