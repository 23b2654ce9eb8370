//! The application's clients.

use kafka_client::config::ClientConfig;
use kafka_client::seams::Seams;
use kafka_client::{Client, Io};

use crate::config::ListenerSettings;

/// One client for each way to reach a cluster.
pub(super) struct Clients {
    made: Vec<(ClientConfig, Client)>,
    /// The application's own, and then its own runtime too.
    seams: Option<Seams>,
}

impl Clients {
    pub(super) fn new(seams: Option<Seams>) -> Self {
        Self { made: Vec::new(), seams }
    }

    pub(super) fn get(&mut self, config: &ClientConfig) -> kafka_client::Result<Client> {
        if let Some((_, known)) = self.made.iter().find(|(known, _)| known == config) {
            return Ok(known.clone());
        }
        let client = match &self.seams {
            Some(seams) => Client::with_seams(config.clone(), seams.clone(), Io::Current)?,
            None => Client::new(config.clone())?,
        };
        self.made.push((config.clone(), client.clone()));
        Ok(client)
    }

    /// Those of a listener's members.
    pub(super) fn of(&mut self, settings: &ListenerSettings) -> kafka_client::Result<Vec<Client>> {
        (0..settings.members.max(1)).map(|index| self.get(&settings.for_member(index).0)).collect()
    }
}
