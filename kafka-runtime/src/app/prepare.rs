//! What a listener needs before its members can begin: partitions that only the cluster can count, and states that come
//! late.

use std::sync::Arc;
use std::time::Duration;

use kafka_client::config::{StartAt, Subscription};
use kafka_client::{Client, TopicName, TopicPartition};
use tracing::warn;

use crate::config::ListenerSettings;
use crate::container::{Board, Bound, Publisher, hop_plan};
use crate::listener::{ListenerDescriptor, States};

/// How often the cluster is asked again for what it does not know.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// When a handler has what it needs.
pub(super) enum Binding {
    Now(Bound),
    #[cfg(feature = "rskafka")]
    Late(Box<Late>),
}

/// A state that comes when a broker is there.
#[cfg(feature = "rskafka")]
pub(super) type Late = (super::late::Late, States);
/// None is.
#[cfg(not(feature = "rskafka"))]
pub(super) type Late = std::convert::Infallible;

impl Binding {
    /// What has to be waited for.
    pub(super) fn late(&self) -> Option<Late> {
        match self {
            Self::Now(_) => None,
            #[cfg(feature = "rskafka")]
            Self::Late(late) => Some(Late::clone(late)),
        }
    }

    #[cfg_attr(not(feature = "rskafka"), allow(unused_variables))]
    pub(super) fn bind(self, descriptor: &ListenerDescriptor, ready: &Prepared) -> Bound {
        match self {
            Self::Now(bound) => bound,
            #[cfg(feature = "rskafka")]
            Self::Late(_) => (descriptor.bind)(&mut crate::listener::Preparation::new(&ready.states)),
        }
    }
}

/// A listener that can begin.
pub(super) struct Prepared {
    /// With all partitions.
    pub(super) settings: ListenerSettings,
    /// With all states, where they came late.
    #[cfg_attr(not(feature = "rskafka"), allow(dead_code))]
    pub(super) states: States,
}

/// Waits for all of it, for as long as it takes.
pub(super) async fn prepare(
    id: &'static str,
    mut settings: ListenerSettings,
    clients: Vec<Client>,
    board: Arc<Board>,
    publisher: Arc<Publisher>,
    late: Option<Late>,
) -> Prepared {
    let states = match late {
        #[cfg(feature = "rskafka")]
        Some((late, states)) => late.complete(id, states, &board).await,
        #[cfg(not(feature = "rskafka"))]
        Some(never) => match never {},
        None => States::default(),
    };
    for (topic, start) in std::mem::take(&mut settings.whole_topics) {
        let partitions = partitions_of(id, topic, start, &clients, &board).await;
        if let Subscription::Partitions(fixed) = &mut settings.consumer.subscription {
            fixed.retain(|(partition, _)| partition.topic != topic);
            fixed.extend(partitions);
        }
    }
    retry_topics(id, &settings, &clients, &publisher, &board).await;
    board.set_problem(None);
    Prepared { settings, states }
}

/// A listener of retry topics has topics before it reads them: nobody else makes them.
async fn retry_topics(
    id: &'static str,
    settings: &ListenerSettings,
    clients: &[Client],
    publisher: &Publisher,
    board: &Board,
) {
    let (Some(suffix), Some(source), Subscription::Topics(topics)) =
        (&settings.hop, clients.first(), &settings.consumer.subscription)
    else {
        return;
    };
    let plan = hop_plan(&settings.dead_letters);
    for topic in topics {
        let main = topic.strip_suffix(suffix.as_str()).unwrap_or(topic);
        let (topic, main) = (TopicName::new(topic), TopicName::new(main));
        while let Err(problem) = publisher.ensure(topic, main, &plan, source).await {
            if board.set_problem(Some(problem.clone())) {
                warn!(listener = id, problem, "it is tried again until it works");
            }
            tokio::time::sleep(ASK_AGAIN).await;
        }
    }
}

/// `partitions("orders", "*")`: the cluster says how many there are, as soon as it can.
async fn partitions_of(
    id: &'static str,
    topic: TopicName,
    start: StartAt,
    clients: &[Client],
    board: &Board,
) -> Vec<(TopicPartition, StartAt)> {
    loop {
        let problem = match ask_for(topic, clients).await {
            Ok(count) => {
                return (0..count).map(|number| (TopicPartition::new(topic, number), start)).collect();
            }
            Err(problem) => problem,
        };
        if board.set_problem(Some(problem.clone())) {
            warn!(listener = id, problem, "it is tried again until it works");
        }
        tokio::time::sleep(ASK_AGAIN).await;
    }
}

async fn ask_for(topic: TopicName, clients: &[Client]) -> Result<i32, String> {
    let Some(client) = clients.first() else { return Ok(0) };
    let described = client.admin().describe_topics(&[topic.as_str()]).await;
    let described = described.map_err(|error| error.to_string())?;
    match described.get(&topic) {
        Some(found) if found.error.is_none() => Ok(i32::try_from(found.partitions.len()).unwrap_or(i32::MAX)),
        Some(found) => {
            Err(format!("topic {topic}: {}", found.error.map_or(String::new(), |error| error.to_string())))
        }
        None => Err(format!("topic {topic} does not exist")),
    }
}
