//! What a file with listeners needs: `use kafka_runtime::prelude::*;`.

pub use bytes::Bytes;
pub use kafka_client::config::StartAt;
pub use kafka_client::records::HeadersView;
pub use kafka_client::{TopicName, TopicPartition};
pub use serde::{Deserialize, Serialize};

pub use crate::app::{App, ListenerError, ListenerHandle, Listeners, RunningApp, Summary};
pub use crate::container::{Ack, AckError, CommitEvent, Health, HealthStatus, Selection};
pub use crate::dead_letter::DeadLetter;
pub use crate::kafka_listener;
pub use crate::listener::{Batch, BatchError, Delivery, Fatal, Headers, Key, Metadata, Outgoing, State};
pub use crate::template::{Interceptor, Record, Template, TemplateError, Topic, Tx, TxError};
