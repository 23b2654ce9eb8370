//! Events of listeners, waited for.

use std::time::Duration;

use kafka_runtime::container::{EventKind, EventStream};

const LIMIT: Duration = Duration::from_secs(60);

/// The next event of which `wanted` takes something; fails after a minute, or when events were missed.
pub async fn event<T>(events: &mut EventStream, mut wanted: impl FnMut(EventKind) -> Option<T>) -> T {
    let wait = async {
        loop {
            match events.next().await.expect("events go on").kind {
                EventKind::Missed(count) => panic!("{count} events were missed"),
                kind => {
                    if let Some(found) = wanted(kind) {
                        return found;
                    }
                }
            }
        }
    };
    tokio::time::timeout(LIMIT, wait).await.expect("the event comes")
}
