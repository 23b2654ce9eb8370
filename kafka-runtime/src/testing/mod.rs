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
//! assert!(app.failures("bill").is_empty());
//! # }
//! ```
//!
//! Tests run side by side in one process: each has its own broker on its own port. [`TestApp::on`] takes a broker of
//! the test's choosing: several nodes, topics with partitions, or one in memory, where the application runs on the
//! test's own thread and, with tokio's paused clock, back-offs and timeouts take no real time.
//!
//! # Layout
//!
//! ```text
//! app       TestApp: start, send, wait, look, restart
//! witness   what handlers were given and what came of it, noted by a wrapper around the handler
//! simulation  many seeded runs in paused time, with everything going wrong that can
//! ```

// What it is for is to fail tests.
#![allow(clippy::panic)]

mod app;
pub mod simulation;
mod witness;

pub use app::TestApp;
pub use kafka_embedded::{Api, EmbeddedKafka, ErrorCode};
pub use simulation::Simulation;
pub use witness::{Fate, Handling};
pub(crate) use witness::{Watched, Witness};
