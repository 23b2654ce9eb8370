//! The listeners of retry topics: a listener's handler once more for each of its retry topics, as a listener of its own.
//!
//! What stands behind the topic's name stands, as in Spring, behind the listener's id, its group and its client ids too:
//! `bill` in the group `billing` on `orders` has `bill-retry-1000` in `billing-retry-1000` on `orders-retry-1000`.

use kafka_client::TopicName;
use kafka_client::config::{OffsetReset, Subscription};
use tracing::info;

use crate::config::{ListenerSettings, Ordering};
use crate::container::Hops;
use crate::listener::ListenerDescriptor;

type Listener = (ListenerDescriptor, ListenerSettings);

/// `listener`, and those of its retry topics.
pub(super) fn with_retries((descriptor, settings): Listener) -> Vec<Listener> {
    let hops = settings.retry_topics.as_ref().map(Hops::new).unwrap_or_default();
    let retries: Vec<Listener> = hops
        .iter()
        .map(|hop| {
            // Ids live as long as the process, as those of the program's own listeners do; one is the same at each start.
            let id = TopicName::new(&format!("{}{}", descriptor.id, hop.suffix)).as_str();
            (ListenerDescriptor { id, ..descriptor }, of_retries(id, &settings, &hop.suffix))
        })
        .collect();
    if !retries.is_empty() {
        let ids: Vec<&str> = retries.iter().map(|(descriptor, _)| descriptor.id).collect();
        info!(
            listener = descriptor.id,
            retries = ids.join(", "),
            "retry topics: a failed record waits in one while those behind it go on, so the order is given up"
        );
    }
    std::iter::once((descriptor, settings)).chain(retries).collect()
}

fn of_retries(id: &str, settings: &ListenerSettings, suffix: &str) -> ListenerSettings {
    let mut settings = ListenerSettings {
        id: id.to_owned(),
        hop: Some(suffix.to_owned()),
        missing_topics_fatal: false,
        // They are due in the order in which they lie there.
        ordering: Ordering::Partition,
        ..settings.clone()
    };
    settings.client_ids.base.push_str(suffix);
    settings.client.client_id = settings.client_ids.of_member(0);
    if let Subscription::Topics(topics) = &mut settings.consumer.subscription {
        topics.iter_mut().for_each(|topic| topic.push_str(suffix));
    }
    if let Some(group) = &mut settings.consumer.group {
        group.group_id.push_str(suffix);
        group.instance_id.iter_mut().for_each(|instance| instance.push_str(suffix));
    }
    // What was sent there before the group first came is waiting for it.
    settings.consumer.auto_offset_reset = OffsetReset::Earliest;
    settings
}
