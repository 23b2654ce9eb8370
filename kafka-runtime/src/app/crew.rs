//! The members of one listener.

use std::sync::Arc;
use std::time::Duration;

use kafka_client::config::{ClientConfig, StartAt, Subscription};
use kafka_client::consumer::Consumer;
use kafka_client::seams::Rng;
use kafka_client::{Client, Error, TopicName, TopicPartition};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::warn;

use super::running::MemberEnd;
use crate::config::ListenerSettings;
use crate::container::{
    Board, Bound, CommitHook, CommitPolicy, ListenerOutlet, ListenerWork, Member, Publisher,
};
use crate::listener::ListenerDescriptor;

/// How often the cluster is asked again for what it does not know.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// A listener with all that its members need but the handler.
pub(super) struct Crew {
    pub(super) descriptor: &'static ListenerDescriptor,
    pub(super) settings: ListenerSettings,
    pub(super) board: Arc<Board>,
    pub(super) hook: Option<CommitHook>,
    pub(super) stop: watch::Receiver<Option<Instant>>,
    /// What writes its dead letters.
    pub(super) publisher: Arc<Publisher>,
    /// One for each member.
    pub(super) clients: Vec<Client>,
}

impl Crew {
    /// Runs all members to their end.
    pub(super) async fn run(mut self, bound: Bound) -> MemberEnd {
        let (id, mut stop) = (self.descriptor.id, self.stop.clone());
        tokio::select! {
            () = self.find_whole_topics() => {}
            _ = stop.wait_for(Option::is_some) => return (id, Ok(())),
        }
        let members = match self.members(bound) {
            Ok(members) => members,
            Err(error) => return (id, Err(error)),
        };
        let mut running: JoinSet<_> = members.into_iter().map(Member::run).collect();
        let mut end = Ok(());
        while let Some(ended) = running.join_next().await {
            end = end.and(ended.unwrap_or(Err(Error::Closed)));
        }
        (id, end)
    }

    fn members(self, bound: Bound) -> kafka_client::Result<Vec<Member>> {
        let Self { descriptor, settings, board, hook, stop, publisher, clients } = self;
        let Some(source) = clients.first().cloned() else { return Ok(Vec::new()) };
        let outlet = Arc::new(ListenerOutlet { publisher, source });
        let rng = Arc::new(Rng::from_entropy());
        let work = Arc::new(ListenerWork::new(descriptor.id, settings, bound, Arc::clone(&rng), outlet));
        let member = |(index, client): (usize, &Client)| {
            let commits = CommitPolicy::new(&work.settings, hook.clone(), Arc::clone(&rng));
            let consumer: Consumer = client.consumer(work.settings.for_member(index).1)?;
            Ok(Member::new(consumer, Arc::clone(&work), Arc::clone(&board), commits, stop.clone()))
        };
        clients.iter().enumerate().map(member).collect()
    }

    /// `partitions("orders", "*")`: the cluster says how many there are, as soon as it can.
    async fn find_whole_topics(&mut self) {
        for (topic, start) in std::mem::take(&mut self.settings.whole_topics) {
            let partitions = self.partitions_of(topic, start).await;
            if let Subscription::Partitions(fixed) = &mut self.settings.consumer.subscription {
                fixed.retain(|(partition, _)| partition.topic != topic);
                fixed.extend(partitions);
            }
        }
        self.board.set_problem(None);
    }

    async fn partitions_of(&self, topic: TopicName, start: StartAt) -> Vec<(TopicPartition, StartAt)> {
        loop {
            let problem = match self.ask_for(topic).await {
                Ok(count) => {
                    return (0..count).map(|number| (TopicPartition::new(topic, number), start)).collect();
                }
                Err(problem) => problem,
            };
            if self.board.set_problem(Some(problem.clone())) {
                warn!(listener = self.descriptor.id, problem, "it is tried again until it works");
            }
            tokio::time::sleep(ASK_AGAIN).await;
        }
    }

    async fn ask_for(&self, topic: TopicName) -> Result<i32, String> {
        let Some(client) = self.clients.first() else { return Ok(0) };
        let described = client.admin().describe_topics(&[topic.as_str()]).await;
        let described = described.map_err(|error| error.to_string())?;
        match described.get(&topic) {
            Some(found) if found.error.is_none() => {
                Ok(i32::try_from(found.partitions.len()).unwrap_or(i32::MAX))
            }
            Some(found) => Err(format!(
                "topic {topic}: {}",
                found.error.map_or(String::new(), |error| error.to_string())
            )),
            None => Err(format!("topic {topic} does not exist")),
        }
    }
}

/// One client for each way to reach a cluster.
#[derive(Default)]
pub(super) struct Clients(Vec<(ClientConfig, Client)>);

impl Clients {
    pub(super) fn get(&mut self, config: &ClientConfig) -> kafka_client::Result<Client> {
        if let Some((_, known)) = self.0.iter().find(|(known, _)| known == config) {
            return Ok(known.clone());
        }
        let client = Client::new(config.clone())?;
        self.0.push((config.clone(), client.clone()));
        Ok(client)
    }

    /// Those of a listener's members.
    pub(super) fn of(&mut self, settings: &ListenerSettings) -> kafka_client::Result<Vec<Client>> {
        (0..settings.members.max(1)).map(|index| self.get(&settings.for_member(index).0)).collect()
    }
}
