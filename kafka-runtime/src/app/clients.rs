//! The application's clients: one metadata cache for each cluster, one I/O thread for all listeners and one for sending.

use kafka_client::config::ClientConfig;
use kafka_client::seams::Seams;
use kafka_client::{Client, Io};

use crate::config::ListenerSettings;

/// One for each way to reach a cluster, whatever they are called.
#[derive(Default)]
pub(super) struct Clients {
    clusters: Vec<Cluster>,
    /// The application's own, and then everything runs on its own runtime.
    seams: Option<Seams>,
}

struct Cluster {
    /// Without a `client.id`.
    config: ClientConfig,
    sending: Client,
    /// On a thread of their own, so that what is sent does not wait for what is fetched.
    listening: Option<Client>,
}

impl Clients {
    pub(super) fn new(seams: Option<Seams>) -> Self {
        Self { clusters: Vec::new(), seams }
    }

    /// A client for everything but listeners.
    pub(super) fn get(&mut self, config: &ClientConfig) -> kafka_client::Result<Client> {
        Ok(self.cluster(config)?.sending.named(&config.client_id))
    }

    fn cluster(&mut self, config: &ClientConfig) -> kafka_client::Result<&mut Cluster> {
        let nameless = ClientConfig { client_id: String::new(), ..config.clone() };
        let at = match self.clusters.iter().position(|cluster| cluster.config == nameless) {
            Some(at) => at,
            None => {
                let sending = match &self.seams {
                    Some(seams) => Client::with_seams(config.clone(), seams.clone(), Io::Current)?,
                    None => Client::new(config.clone())?,
                };
                self.clusters.push(Cluster { config: nameless, sending, listening: None });
                self.clusters.len() - 1
            }
        };
        self.clusters.get_mut(at).ok_or(kafka_client::Error::Closed)
    }

    /// Those of a listener's members.
    pub(super) fn of(&mut self, settings: &ListenerSettings) -> kafka_client::Result<Vec<Client>> {
        (0..settings.members.max(1)).map(|index| self.listening(&settings.for_member(index).0)).collect()
    }

    fn listening(&mut self, config: &ClientConfig) -> kafka_client::Result<Client> {
        let cluster = self.cluster(config)?;
        let client = match &cluster.listening {
            Some(client) => client,
            None => cluster.listening.insert(cluster.sending.on_another_thread()?),
        };
        Ok(client.named(&config.client_id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_that_differ_in_name_alone_share_their_cluster() {
        let config = |id: &str, server: &str| ClientConfig {
            client_id: id.into(),
            bootstrap_servers: vec![server.into()],
            ..ClientConfig::default()
        };
        let mut clients = Clients::default();
        for (id, server) in [("template", "a:1"), ("bill-0", "a:1"), ("bill-1", "a:1"), ("bill-0", "b:1")] {
            clients.listening(&config(id, server)).unwrap();
        }
        assert_eq!(clients.clusters.len(), 2);
    }
}
