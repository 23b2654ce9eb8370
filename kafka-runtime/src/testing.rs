//! The test kit: the application of `main()` on an embedded broker, on the wire, in milliseconds.
//!
//! ```no_run
//! # use kafka_runtime::prelude::*;
//! use kafka_runtime::testing::TestApp;
//! # #[derive(Debug, PartialEq, Serialize, Deserialize)] struct Invoice { cents: u64 }
//! # async fn bills_an_order() {
//! let app = TestApp::start(App::from_config("application.yml").unwrap().only(["bill"])).await.unwrap();
//! app.template().send("orders", "c1", &Invoice { cents: 1 }).await.unwrap();
//! app.handled("bill", 1).await;
//! assert_eq!(app.sent::<Invoice>("invoices").await, [Invoice { cents: 1 }]);
//! assert_eq!(app.committed("billing", "orders", 0).await, 1);
//! # }
//! ```

use std::ops::Deref;
use std::time::Duration;

use kafka_client::{Client, TopicName, TopicPartition};
use kafka_embedded::EmbeddedKafka;
use serde::de::DeserializeOwned;

use crate::app::{App, RunningApp, Summary};
use crate::error::Result;

/// How long a test waits before it fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// An application under test with a broker of its own. What [`RunningApp`] can do, it can.
#[derive(Debug)]
pub struct TestApp {
    app: RunningApp,
    client: Client,
    // The broker goes last.
    broker: EmbeddedKafka,
}

impl Deref for TestApp {
    type Target = RunningApp;
    fn deref(&self) -> &RunningApp {
        &self.app
    }
}

impl TestApp {
    /// Starts `app` on a new embedded broker, whatever brokers its configuration names. Topics are created when they
    /// are first asked for. Partitions are read from their beginning (`auto-offset-reset: earliest`): with `latest`
    /// a test's records would race with the first assignment.
    ///
    /// # Errors
    /// As [`App::start`].
    ///
    /// # Panics
    /// The broker cannot listen on a loopback port.
    pub async fn start(app: App) -> Result<Self> {
        let broker = EmbeddedKafka::builder().start().await;
        assert!(broker.is_ok(), "embedded broker: {:?}", broker.err());
        let Ok(broker) = broker else { unreachable!() };
        Self::on(broker, app).await
    }

    /// Starts `app` on this embedded broker: one with topics of its own, or several brokers.
    ///
    /// # Errors
    /// As [`App::start`].
    pub async fn on(broker: EmbeddedKafka, app: App) -> Result<Self> {
        let servers = broker.bootstrap_servers().to_owned();
        let mut app = app.property("kafka-runtime.consumer.auto-offset-reset", "earliest");
        for place in ["", "consumer.", "producer."] {
            app = app.property(format!("kafka-runtime.{place}bootstrap-servers"), servers.clone());
        }
        let config = kafka_client::config::ClientConfig {
            bootstrap_servers: vec![servers],
            client_id: "test".into(),
            ..Default::default()
        };
        let client =
            Client::new(config).map_err(|source| crate::Error::Client { what: "test".into(), source })?;
        Ok(Self { app: app.start().await?, client, broker })
    }

    /// The broker.
    pub fn broker(&self) -> &EmbeddedKafka {
        &self.broker
    }

    /// Waits until the listener `id` has handled `count` records since the start.
    ///
    /// # Panics
    /// It has not within 30 s; the listeners' status is shown.
    pub async fn handled(&self, id: &str, count: u64) {
        let in_time = tokio::time::timeout(PATIENCE, self.app.handled(id, count)).await.is_ok();
        assert!(
            in_time,
            "`{id}` has not handled {count} records within {PATIENCE:?}: {:#?}",
            self.app.status()
        );
    }

    /// All records of a topic, from JSON, partition by partition. Nothing for a topic that does not exist.
    ///
    /// # Panics
    /// They cannot be read, or are not the JSON of a `T`.
    pub async fn sent<T: DeserializeOwned>(&self, topic: &str) -> Vec<T> {
        let described = self.client.admin().describe_topics(&[topic]).await;
        assert!(described.is_ok(), "topic {topic}: {:?}", described.err());
        let described = described.unwrap_or_default();
        let partitions = described.get(&TopicName::new(topic)).map_or(0, |topic| topic.partitions.len());
        let mut values = Vec::new();
        for partition in 0..i32::try_from(partitions).unwrap_or(0) {
            let mut next = Some(0);
            while let Some(from) = next {
                let page = self.app.template().receive(topic, partition, from..).await;
                assert!(page.is_ok(), "{}", page.err().map(|error| error.to_string()).unwrap_or_default());
                let Ok(page) = page else { break };
                next = page.next();
                for record in page {
                    let value = record.json();
                    assert!(
                        value.is_ok(),
                        "{}",
                        value.err().map(|error| error.to_string()).unwrap_or_default()
                    );
                    values.extend(value);
                }
            }
        }
        values
    }

    /// The offset that a group has committed for a partition, -1 where it has none. What is handled and not committed
    /// yet is committed first, so that the cadence does not matter.
    ///
    /// # Panics
    /// The broker does not answer.
    pub async fn committed(&self, group: &str, topic: &str, partition: i32) -> i64 {
        self.app.commit_now().await;
        let partition = TopicPartition::new(topic, partition);
        let committed = self.client.admin().committed(group, &[partition]).await;
        assert!(committed.is_ok(), "group {group}: {:?}", committed.err());
        let found = committed.ok().and_then(|found| found.into_iter().next());
        found.and_then(|(_, committed)| committed).map_or(-1, |committed| committed.offset)
    }

    /// Stops the application, then the broker.
    ///
    /// # Errors
    /// As [`RunningApp::stop`].
    pub async fn stop(self) -> Result<Summary> {
        self.app.stop().await
    }
}
