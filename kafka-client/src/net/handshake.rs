//! What happens on every new connection before its first call: versions are negotiated (security will stand here).

use std::collections::HashMap;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};
use kafka_protocol::protocol::{Request, StrBytes, VersionRange};

use super::{Address, Connection, Purpose};
use crate::config::ClientConfig;
use crate::error::{At, Error, Result};
use crate::seams::Seams;
use crate::wire;

/// The feature that says how transactions work (KIP-890).
const TRANSACTION_VERSION: &str = "transaction.version";

/// The versions that a broker and this client have in common.
#[derive(Debug, Default)]
pub(super) struct Versions {
    by_api_key: HashMap<i16, VersionRange>,
    /// The cluster's finalised `transaction.version`; 0 where the broker tells none (before 4.0).
    pub(super) transaction_version: i16,
}

impl Versions {
    fn of(response: &ApiVersionsResponse) -> Self {
        let common = response.api_keys.iter().filter_map(|api| {
            let brokers = VersionRange { min: api.min_version, max: api.max_version };
            let both = wire::supported(api.api_key)?.intersect(&brokers);
            (!both.is_empty()).then_some((api.api_key, both))
        });
        let mut features = response.finalized_features.iter();
        let transactions = features.find(|feature| feature.name.as_str() == TRANSACTION_VERSION);
        Self {
            by_api_key: common.collect(),
            transaction_version: transactions.map_or(0, |feature| feature.max_version_level),
        }
    }

    pub(super) fn highest(&self, api_key: i16) -> Option<i16> {
        self.by_api_key.get(&api_key).map(|range| range.max)
    }
}

/// Connects, and negotiates.
pub(super) async fn open(
    address: &Address,
    purpose: Purpose,
    client_id: StrBytes,
    config: &ClientConfig,
    seams: &Seams,
) -> Result<Arc<Connection>> {
    let disconnected = |reason: String| Error::Disconnected { broker: address.to_string(), reason };
    let connecting = seams.transport.connect(&address.host, address.port);
    let stream = match tokio::time::timeout(config.connect_timeout, connecting).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused => {
            return Err(Error::Refused { broker: address.to_string() });
        }
        Ok(Err(error)) => return Err(disconnected(error.to_string())),
        Err(_) => return Err(disconnected(format!("not connected within {:?}", config.connect_timeout))),
    };
    let mut connection = Connection::start(stream, address, purpose, client_id, config, seams);
    connection.versions = negotiate(&connection, config, purpose.patience()).await.map_err(first_words)?;
    Ok(Arc::new(connection))
}

/// Asks in version 3, and again in 0 where the broker does not know it: Kafka 2.3 and older answer error 35, in the
/// layout of version 0.
async fn negotiate(connection: &Connection, config: &ClientConfig, most: Duration) -> Result<Versions> {
    let newest = wire::supported(ApiVersionsRequest::KEY).map_or(0, |range| range.max);
    let ask = async |version: i16| {
        let request = match version {
            3.. => ApiVersionsRequest::default()
                .with_client_software_name(StrBytes::from_static_str("kafka-client-rust"))
                .with_client_software_version(StrBytes::from_static_str(env!("CARGO_PKG_VERSION"))),
            _ => ApiVersionsRequest::default(),
        };
        // A peer that accepts and says nothing is waited for as long as one that does not accept.
        let patience = config.request_timeout.min(config.connect_timeout).min(most);
        connection.exchange(version, patience, &request)?.await
    };
    let answer: Bytes = ask(newest).await?;
    let unknown = ResponseError::UnsupportedVersion.code().to_be_bytes();
    let response: ApiVersionsResponse = match answer.starts_with(&unknown) {
        true => connection.decode::<ApiVersionsRequest>(ask(0).await?, 0)?,
        false => connection.decode::<ApiVersionsRequest>(answer, newest)?,
    };
    match ResponseError::try_from_code(response.error_code) {
        None => Ok(Versions::of(&response)),
        Some(code) => {
            Err(Error::Broker { api: "ApiVersions", code, at: At::Broker(connection.peer().to_owned()) })
        }
    }
}

/// A peer that fails at the first exchange is mostly no Kafka broker, or one that expects something else first.
fn first_words(error: Error) -> Error {
    match error {
        Error::Disconnected { broker, reason } => Error::Disconnected {
            broker,
            reason: format!(
                "{reason} during the first exchange (a listener that expects TLS or SASL does that)"
            ),
        },
        Error::Malformed { broker, reason, .. } => Error::NotKafka { broker, reason },
        other => other,
    }
}
