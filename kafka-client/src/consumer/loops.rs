//! The brokers' fetch loops of a consumer.

use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::messages::{FetchRequest, FetchResponse};
use tokio::sync::mpsc;

use crate::error::Result;
use crate::fetch::Map;
use crate::fetch::broker::{BrokerLoop, Command, Entry, Link, Report, Settings};
use crate::fetch::budget::Budget;
use crate::fetch::request::{BY_ID, Terms, fetch_request};
use crate::fetch::session::Delta;
use crate::ids::TopicPartition;
use crate::net::{Answer, Pool, Purpose};

/// A loop's way to its broker.
#[derive(Debug)]
struct PoolLink {
    pool: Arc<Pool>,
    broker: i32,
    /// How long an answer may take beyond what the broker was told to wait.
    patience: Duration,
}

impl Link for PoolLink {
    async fn fetch(&self, delta: Delta, terms: Terms) -> Result<Answer<FetchResponse>> {
        self.fetch_on(Purpose::Fetch, delta, terms).await
    }

    async fn fetch_aside(&self, delta: Delta, terms: Terms) -> Result<Answer<FetchResponse>> {
        self.fetch_on(Purpose::FetchAside, delta, terms).await
    }
}

impl PoolLink {
    async fn fetch_on(&self, purpose: Purpose, delta: Delta, terms: Terms) -> Result<Answer<FetchResponse>> {
        let connection = self.pool.broker(self.broker, purpose).await?;
        let wait = Duration::from_millis(terms.max_wait_ms.unsigned_abs().into());
        let highest = if terms.by_name { BY_ID - 1 } else { i16::MAX };
        connection
            .call_up_to::<FetchRequest>(highest, self.patience + wait, |version| {
                fetch_request(&delta, &terms, version)
            })
            .await
    }
}

/// All loops. One starts with a broker's first partition, rests when it has none, and ends with all of them.
#[derive(Debug)]
pub(super) struct Loops {
    pool: Arc<Pool>,
    settings: Arc<Settings>,
    budget: Arc<Budget>,
    patience: Duration,
    reports: mpsc::UnboundedSender<Report>,
    running: Map<i32, mpsc::UnboundedSender<Command>>,
}

impl Loops {
    pub(super) fn new(
        pool: Arc<Pool>,
        settings: Settings,
        patience: Duration,
        reports: mpsc::UnboundedSender<Report>,
    ) -> Self {
        let budget = Budget::new(settings.fetch.prefetch_bytes);
        Self { pool, settings: Arc::new(settings), budget, patience, reports, running: Map::default() }
    }

    pub(super) fn add(&mut self, broker: i32, entry: Entry) {
        let commands = self.running.entry(broker).or_insert_with(|| {
            let (commands, inbox) = mpsc::unbounded_channel();
            let link = PoolLink { pool: Arc::clone(&self.pool), broker, patience: self.patience };
            let settings = Arc::clone(&self.settings);
            let running =
                BrokerLoop::new(broker, link, settings, self.budget.seat(), inbox, self.reports.clone());
            tokio::spawn(running.run());
            commands
        });
        let _ = commands.send(Command::Add(entry));
    }

    pub(super) fn remove(&self, broker: i32, partition: TopicPartition) {
        self.tell(broker, Command::Remove(partition));
    }

    pub(super) fn pause(&self, broker: i32, partition: TopicPartition, paused: bool) {
        self.tell(broker, Command::Pause(partition, paused));
    }

    fn tell(&self, broker: i32, command: Command) {
        // A loop ends only with its entry here.
        if let Some(commands) = self.running.get(&broker) {
            let _ = commands.send(command);
        }
    }

    /// Ends all of them.
    pub(super) fn clear(&mut self) {
        self.running.clear();
    }
}
