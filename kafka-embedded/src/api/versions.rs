//! ApiVersions.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::api_versions_response::{ApiVersion, FinalizedFeatureKey, SupportedFeatureKey};
use kafka_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse, ProduceRequest};
use kafka_protocol::protocol::{Request, StrBytes};

use super::NONE;
use crate::server::connection::Context;
use crate::server::dispatch::SERVED;

pub(crate) async fn api_versions(context: &Context, request: ApiVersionsRequest) -> ApiVersionsResponse {
    if context.version >= 3
        && !(is_valid(&request.client_software_name) && is_valid(&request.client_software_version))
    {
        return ApiVersionsResponse::default().with_error_code(ResponseError::InvalidRequest.code());
    }
    let keys = SERVED.iter().map(|api| {
        // librdkafka refuses compressed producing where Produce 0 is not offered; Kafka offers and then refuses it.
        let min = if api.key == ProduceRequest::KEY { 0 } else { api.min };
        version(api.key, min, api.max)
    });
    let response = ApiVersionsResponse::default().with_error_code(NONE).with_api_keys(keys.collect());
    if context.version < FEATURES_FROM { response } else { with_features(response, context.version) }
}

/// A feature that a cluster of Kafka 4.1 has and this one, too: name, lowest and highest level, level in force.
const FEATURES: &[(&str, i16, i16, i16)] = &[("group.version", 0, 1, 1), ("transaction.version", 0, 2, 2)];
/// Features are told from this version on.
const FEATURES_FROM: i16 = 3;
/// Version 3 cannot tell a lowest level of 0.
const LEVEL_0_FROM: i16 = 4;

fn with_features(response: ApiVersionsResponse, version: i16) -> ApiVersionsResponse {
    let name = |name: &'static str| StrBytes::from_static_str(name);
    let tellable = FEATURES.iter().filter(|(_, min, ..)| *min > 0 || version >= LEVEL_0_FROM);
    let supported = tellable.map(|(feature, min, max, _)| {
        SupportedFeatureKey::default().with_name(name(feature)).with_min_version(*min).with_max_version(*max)
    });
    let finalized = FEATURES.iter().map(|(feature, .., level)| {
        FinalizedFeatureKey::default()
            .with_name(name(feature))
            .with_min_version_level(*level)
            .with_max_version_level(*level)
    });
    response
        .with_supported_features(supported.collect())
        .with_finalized_features_epoch(0)
        .with_finalized_features(finalized.collect())
}

/// The answer to a version that is not known: the versions of this API alone, in version 0.
pub(crate) fn unsupported() -> ApiVersionsResponse {
    let own = SERVED.iter().filter(|api| api.key == ApiVersionsRequest::KEY);
    ApiVersionsResponse::default()
        .with_error_code(ResponseError::UnsupportedVersion.code())
        .with_api_keys(own.map(|api| version(api.key, api.min, api.max)).collect())
}

fn version(key: i16, min: i16, max: i16) -> ApiVersion {
    ApiVersion::default().with_api_key(key).with_min_version(min).with_max_version(max)
}

/// KIP-511: letters, digits, '-' and '.', neither of these two first or last.
fn is_valid(software: &StrBytes) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = software.as_bytes();
    bytes.iter().copied().all(inner) && edge(bytes.first()) && edge(bytes.last())
}
