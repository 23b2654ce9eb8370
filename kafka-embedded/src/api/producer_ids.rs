//! InitProducerId, for idempotent producers.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse, ProducerId};

use super::NONE;
use crate::server::connection::Context;

pub(crate) async fn init(context: &Context, request: InitProducerIdRequest) -> InitProducerIdResponse {
    let refuse = |error: ResponseError| {
        InitProducerIdResponse::default()
            .with_error_code(error.code())
            .with_producer_id(ProducerId(-1))
            .with_producer_epoch(-1)
    };
    match request.transactional_id {
        // Transactions are not served yet, and no request of theirs is advertised.
        Some(id) if id.is_empty() => refuse(ResponseError::InvalidRequest),
        Some(_) => refuse(ResponseError::UnsupportedVersion),
        None => InitProducerIdResponse::default()
            .with_error_code(NONE)
            .with_producer_id(ProducerId(context.cluster.new_producer_id()))
            .with_producer_epoch(0),
    }
}
