//! Events of listeners, waited for.

use std::time::Duration;

use kafka_runtime::container::{EventKind, EventStream};

const LIMIT: Duration = Duration::from_secs(60);

/// The next event of which `wanted` takes something; fails after a minute.
pub async fn event<T>(events: &mut EventStream, mut wanted: impl FnMut(EventKind) -> Option<T>) -> T {
    let wait = async {
        loop {
            let event = events.next().await.expect("events go on");
            if let Some(found) = wanted(event.kind) {
                return found;
            }
        }
    };
    tokio::time::timeout(LIMIT, wait).await.expect("the event comes")
}
