//! The feature `rskafka`: handlers get an rskafka client of the same cluster.
//!
//! rskafka connects before it gives a client out, and brokers may be away when the application starts. So the listeners
//! that ask for one start when it is there, and all others do not wait for it.

use std::any::{TypeId, type_name};
use std::sync::Arc;

use kafka_client::config::ClientConfig;
use rskafka::client::{Client, ClientBuilder};
use tokio::sync::OnceCell;
use tracing::{info, warn};

use crate::container::Board;
use crate::listener::States;

/// The client, made once for all listeners that ask for it.
#[derive(Clone)]
pub(super) struct Late {
    config: ClientConfig,
    client: Arc<OnceCell<Arc<Client>>>,
}

impl Late {
    pub(super) fn new(config: &ClientConfig) -> Self {
        Self { config: config.clone(), client: Arc::default() }
    }

    /// Whether what is missing will come.
    pub(super) fn supplies(&self, missing: &[String]) -> bool {
        let wanted = format!("`{}`", type_name::<Client>());
        !missing.is_empty() && missing.iter().all(|text| text.contains(&wanted))
    }

    /// The states with the client among them, once it is there.
    pub(super) async fn complete(&self, id: &'static str, mut states: States, board: &Board) -> States {
        board.set_problem(Some("it waits for the rskafka client, which waits for a broker".into()));
        let client = Arc::clone(self.client.get_or_init(|| self.build(id)).await);
        board.set_problem(None);
        states.insert(TypeId::of::<Client>(), client);
        states
    }

    async fn build(&self, listener: &str) -> Arc<Client> {
        let ClientConfig { bootstrap_servers, client_id, retry_backoff, .. } = &self.config;
        loop {
            // It tries for ever by itself, but gives up on some errors.
            let builder = ClientBuilder::new(bootstrap_servers.clone()).client_id(client_id.as_str());
            match builder.build().await {
                Ok(client) => {
                    info!(listener, "the rskafka client is there");
                    return Arc::new(client);
                }
                Err(error) => warn!(listener, %error, "no rskafka client yet; it is tried again"),
            }
            tokio::time::sleep(retry_backoff.max).await;
        }
    }
}
