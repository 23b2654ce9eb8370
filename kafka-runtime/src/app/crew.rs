//! The members of one listener.

use std::sync::Arc;

use kafka_client::Client;
use kafka_client::seams::Rng;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::config::ListenerSettings;
use crate::container::{Board, Bound, CommitHook, CommitPolicy, ListenerWork, Member};
use crate::listener::ListenerDescriptor;

/// A listener with all that its members need but the handler.
pub(super) struct Crew {
    pub(super) descriptor: &'static ListenerDescriptor,
    pub(super) settings: ListenerSettings,
    pub(super) client: Client,
    pub(super) board: Arc<Board>,
    pub(super) hook: Option<CommitHook>,
    pub(super) stop: watch::Receiver<Option<Instant>>,
}

impl Crew {
    /// The members, not running yet. In the context of a runtime.
    pub(super) fn members(self, bound: Bound) -> kafka_client::Result<Vec<Member>> {
        let Self { descriptor, settings, client, board, hook, stop } = self;
        let count = settings.members.max(1);
        let rng = Arc::new(Rng::from_entropy());
        let work = Arc::new(ListenerWork::new(descriptor.id, settings, bound, Arc::clone(&rng)));
        let mut members = Vec::with_capacity(count);
        for number in 1..=count {
            let mut config = work.settings.consumer.clone();
            if let Some(group) = config.group.as_mut().filter(|_| count > 1) {
                // Each member needs a name of its own, as in Spring's containers.
                group.instance_id = group.instance_id.take().map(|id| format!("{id}-{number}"));
            }
            let commits = CommitPolicy::new(&work.settings, hook.clone(), Arc::clone(&rng));
            let consumer = client.consumer(config)?;
            members.push(Member::new(consumer, Arc::clone(&work), Arc::clone(&board), commits, stop.clone()));
        }
        Ok(members)
    }
}
