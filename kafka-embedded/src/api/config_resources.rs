//! ListConfigResources (KIP-1142): what can have configs, by name.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::list_config_resources_response::ConfigResource;
use kafka_protocol::messages::{ListConfigResourcesRequest, ListConfigResourcesResponse};
use kafka_protocol::protocol::StrBytes;

use super::NONE;
use crate::server::connection::Context;

/// Kinds of resources, as the protocol numbers them.
mod kind {
    pub(super) const TOPIC: i8 = 2;
    pub(super) const BROKER: i8 = 4;
    pub(super) const BROKER_LOGGER: i8 = 8;
    pub(super) const CLIENT_METRICS: i8 = 16;
    pub(super) const GROUP: i8 = 32;
    pub(super) const ALL: [i8; 5] = [TOPIC, BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP];
}

pub(crate) async fn list(
    context: &Context,
    request: ListConfigResourcesRequest,
) -> ListConfigResourcesResponse {
    // Version 0 knows client metrics alone, of which there are none.
    let wanted = match request.resource_types.as_slice() {
        _ if context.version == 0 => &[kind::CLIENT_METRICS][..],
        [] => &kind::ALL[..],
        some => some,
    };
    if !wanted.iter().all(|wanted| kind::ALL.contains(wanted)) {
        let refused = ResponseError::UnsupportedVersion.code();
        return ListConfigResourcesResponse::default().with_error_code(refused);
    }
    let resources = kind::ALL.iter().filter(|kind| wanted.contains(kind)).flat_map(|kind| {
        let names = names(context, *kind).into_iter();
        names.map(|name| ConfigResource::default().with_resource_name(name).with_resource_type(*kind))
    });
    ListConfigResourcesResponse::default().with_error_code(NONE).with_config_resources(resources.collect())
}

/// Groups are listed once something is set on them; on client metrics nothing can be.
fn names(context: &Context, of: i8) -> Vec<StrBytes> {
    let cluster = &context.cluster;
    match of {
        kind::TOPIC => cluster.topics.all().iter().map(|topic| topic.name.0.clone()).collect(),
        kind::BROKER | kind::BROKER_LOGGER => {
            cluster.live_nodes().map(|node| StrBytes::from_string(node.id.to_string())).collect()
        }
        kind::GROUP => cluster.group_configs.names().into_iter().map(StrBytes::from_string).collect(),
        _ => Vec::new(),
    }
}
