//! The application's clients.

use kafka_client::Client;
use kafka_client::config::ClientConfig;

use crate::config::ListenerSettings;

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
