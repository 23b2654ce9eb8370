//! FindCoordinator: one key, or many from version 4 on.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::{BrokerId, FindCoordinatorRequest, FindCoordinatorResponse};
use kafka_protocol::protocol::StrBytes;

use super::{NONE, text};
use crate::cluster::Node;
use crate::server::connection::Context;

/// Groups; 1 are transactional ids.
const LAST_KEY_TYPE: i8 = 1;

pub(crate) async fn find(context: &Context, request: FindCoordinatorRequest) -> FindCoordinatorResponse {
    let find = |key: &StrBytes| match context.cluster.coordinator(key) {
        _ if !(0..=LAST_KEY_TYPE).contains(&request.key_type) => Err(ResponseError::InvalidRequest),
        _ if request.key_type == 0 && key.is_empty() => Err(ResponseError::InvalidGroupId),
        Some(node) => Ok(node),
        None => Err(ResponseError::CoordinatorNotAvailable),
    };
    if context.version >= 4 {
        let found = request.coordinator_keys.iter().map(|key| batched(key, find(key)));
        return FindCoordinatorResponse::default().with_coordinators(found.collect());
    }
    match find(&request.key) {
        Ok(node) => FindCoordinatorResponse::default()
            .with_error_code(NONE)
            .with_node_id(BrokerId(node.id))
            .with_host(node.host.clone())
            .with_port(i32::from(node.port)),
        Err(error) => FindCoordinatorResponse::default()
            .with_error_code(error.code())
            .with_error_message(text(error.to_string()))
            .with_node_id(BrokerId(-1))
            .with_port(-1),
    }
}

fn batched(key: &StrBytes, found: Result<&Node, ResponseError>) -> Coordinator {
    let coordinator = Coordinator::default().with_key(key.clone());
    match found {
        Ok(node) => coordinator
            .with_error_code(NONE)
            .with_node_id(BrokerId(node.id))
            .with_host(node.host.clone())
            .with_port(i32::from(node.port)),
        Err(error) => coordinator
            .with_error_code(error.code())
            .with_error_message(text(error.to_string()))
            .with_node_id(BrokerId(-1))
            .with_port(-1),
    }
}
