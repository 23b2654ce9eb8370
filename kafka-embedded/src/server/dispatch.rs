//! From a frame to the API it names, and back: one table of APIs, versions and handlers.

use std::io;

use bytes::Bytes;
use kafka_client::wire::{DecodeError, EncodeError, decode_part, encode};
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, AlterConfigsRequest,
    AlterPartitionReassignmentsRequest, ApiVersionsRequest, ConsumerGroupDescribeRequest,
    ConsumerGroupHeartbeatRequest, CreatePartitionsRequest, CreateTopicsRequest, DeleteGroupsRequest,
    DeleteRecordsRequest, DeleteTopicsRequest, DescribeClusterRequest, DescribeConfigsRequest,
    DescribeGroupsRequest, DescribeProducersRequest, DescribeTopicPartitionsRequest,
    DescribeTransactionsRequest, ElectLeadersRequest, EndTxnRequest, FetchRequest, FindCoordinatorRequest,
    HeartbeatRequest, IncrementalAlterConfigsRequest, InitProducerIdRequest, JoinGroupRequest,
    LeaveGroupRequest, ListConfigResourcesRequest, ListGroupsRequest, ListOffsetsRequest,
    ListPartitionReassignmentsRequest, ListTransactionsRequest, MetadataRequest, OffsetCommitRequest,
    OffsetDeleteRequest, OffsetFetchRequest, OffsetForLeaderEpochRequest, ProduceRequest, RequestHeader,
    ResponseHeader, SyncGroupRequest, TxnOffsetCommitRequest, WriteTxnMarkersRequest,
};
use kafka_protocol::protocol::{Encodable, HeaderVersion, Request};

use super::connection::{Context, RequestSeen};
use super::response::Response;
use crate::api;
use crate::topics::owned;

/// Why a connection is closed by the broker.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Closed {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("a frame of {0} bytes")]
    FrameSize(i32),
    #[error("request of API {0} in version {1} is not served")]
    Unsupported(i16, i16),
    #[error("a request shorter than its header")]
    TooShort,
    #[error("malformed request: {0}")]
    Malformed(#[from] DecodeError),
    #[error("the answer cannot be encoded: {0}")]
    Unencodable(#[from] EncodeError),
    #[error("nothing came or was taken for connections.max.idle.ms")]
    Idle,
    #[error("requests on their way in take too much memory")]
    Crowded,
    #[error("a fault was asked for")]
    Fault,
}

/// What a handler gives back.
pub(crate) trait Reply {
    /// Writes the body in `version`; `false` where the request is not answered at all (Produce with acks 0).
    fn write(&self, into: &mut Response, version: i16) -> Result<bool, Closed>;
}

impl<T: Encodable> Reply for T {
    fn write(&self, into: &mut Response, version: i16) -> Result<bool, Closed> {
        encode(self, version, into.text())?;
        Ok(true)
    }
}

/// An API and the versions of it that are served.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Served {
    pub(crate) key: i16,
    pub(crate) name: &'static str,
    pub(crate) min: i16,
    pub(crate) max: i16,
}

macro_rules! apis {
    ($($request:ident $min:literal - $max:literal => $handler:path,)*) => {
        /// Every API of this broker; the versions are those of Kafka 4.1.
        pub(crate) const SERVED: &[Served] = &[
            $(Served { key: $request::KEY, name: stringify!($request), min: $min, max: $max },)*
        ];

        async fn route(context: &mut Context, key: i16, frame: Bytes) -> Result<Option<Response>, Closed> {
            match key {
                $($request::KEY => {
                    let (correlation, request) = open::<$request>(context, frame)?;
                    let struck = context.cluster.faults.judge(context, &request);
                    let refused = match &struck {
                        None => None,
                        Some(treatment) => treatment.before(context, correlation, &request).await?,
                    };
                    let response = match refused {
                        Some(refusal) => Some(refusal),
                        None => close::<$request>(context, correlation, &$handler(context, request).await)?,
                    };
                    match struck {
                        None => Ok(response),
                        Some(treatment) => treatment.after::<$request>(context, response).await,
                    }
                })*
                _ => Err(Closed::Unsupported(key, context.version)),
            }
        }
    };
}

apis! {
    ProduceRequest 3 - 13 => api::produce::produce,
    FetchRequest 4 - 18 => api::fetch::fetch,
    ListOffsetsRequest 1 - 10 => api::offsets::list,
    MetadataRequest 0 - 13 => api::metadata::metadata,
    OffsetCommitRequest 2 - 9 => api::group_offsets::commit,
    OffsetFetchRequest 1 - 9 => api::group_offsets::fetch,
    FindCoordinatorRequest 0 - 6 => api::coordinator::find,
    JoinGroupRequest 0 - 9 => api::membership::join,
    HeartbeatRequest 0 - 4 => api::membership::heartbeat,
    LeaveGroupRequest 0 - 5 => api::membership::leave,
    SyncGroupRequest 0 - 5 => api::membership::sync,
    DescribeGroupsRequest 0 - 6 => api::groups::describe,
    ListGroupsRequest 0 - 5 => api::groups::list,
    ApiVersionsRequest 0 - 4 => api::versions::api_versions,
    CreateTopicsRequest 2 - 7 => api::topics::create,
    DeleteTopicsRequest 1 - 6 => api::topics::delete,
    DeleteRecordsRequest 0 - 2 => api::offsets::delete_records,
    InitProducerIdRequest 0 - 5 => api::transactions::init,
    OffsetForLeaderEpochRequest 2 - 4 => api::offsets::for_leader_epoch,
    AddPartitionsToTxnRequest 0 - 5 => api::transactions::add_partitions,
    AddOffsetsToTxnRequest 0 - 4 => api::transactions::add_offsets,
    EndTxnRequest 0 - 5 => api::transactions::end,
    WriteTxnMarkersRequest 1 - 1 => api::producers::write_markers,
    TxnOffsetCommitRequest 0 - 5 => api::txn_offsets::commit,
    DescribeConfigsRequest 1 - 4 => api::configs::describe,
    AlterConfigsRequest 0 - 2 => api::configs::alter,
    CreatePartitionsRequest 0 - 3 => api::topics::add_partitions,
    DeleteGroupsRequest 0 - 2 => api::groups::delete,
    ElectLeadersRequest 0 - 2 => api::leaders::elect,
    IncrementalAlterConfigsRequest 0 - 1 => api::configs::alter_incrementally,
    AlterPartitionReassignmentsRequest 0 - 1 => api::leaders::reassign,
    ListPartitionReassignmentsRequest 0 - 0 => api::leaders::list_reassignments,
    OffsetDeleteRequest 0 - 0 => api::groups::delete_offsets,
    DescribeClusterRequest 0 - 2 => api::metadata::describe_cluster,
    DescribeProducersRequest 0 - 0 => api::producers::describe_producers,
    DescribeTransactionsRequest 0 - 0 => api::producers::describe_transactions,
    ListTransactionsRequest 0 - 2 => api::producers::list_transactions,
    ConsumerGroupHeartbeatRequest 0 - 1 => api::consumer_groups::heartbeat,
    ConsumerGroupDescribeRequest 0 - 1 => api::consumer_groups::describe,
    ListConfigResourcesRequest 0 - 1 => api::config_resources::list,
    DescribeTopicPartitionsRequest 0 - 0 => api::topic_partitions::describe,
}

/// Answers one request; `None` where it wants no answer.
pub(crate) async fn dispatch(context: &mut Context, frame: Bytes) -> Result<Option<Response>, Closed> {
    let Some(&[key_high, key_low, version_high, version_low]) = frame.first_chunk() else {
        return Err(Closed::TooShort);
    };
    let key = i16::from_be_bytes([key_high, key_low]);
    context.version = i16::from_be_bytes([version_high, version_low]);
    let served = SERVED.iter().find(|api| api.key == key);
    match served {
        Some(api) if (api.min..=api.max).contains(&context.version) => route(context, key, frame).await,
        Some(api) if api.key == ApiVersionsRequest::KEY => {
            // The one API that every client must be able to ask: answered in version 0, which all can read.
            let Some(correlation) = frame.get(4..8).and_then(|bytes| bytes.try_into().ok()) else {
                return Err(Closed::TooShort);
            };
            context.version = 0;
            let answer = api::versions::unsupported();
            close::<ApiVersionsRequest>(context, i32::from_be_bytes(correlation), &answer)
        }
        _ => Err(Closed::Unsupported(key, context.version)),
    }
}

fn observe(context: &Context, key: i16) {
    let Some(observer) = &context.cluster.settings.observer else { return };
    let name = SERVED.iter().find(|api| api.key == key).map_or("?", |api| api.name);
    observer.0(&RequestSeen {
        broker: context.node,
        api: name.trim_end_matches("Request"),
        version: context.version,
        client_id: context.client_id.as_deref(),
        peer: context.peer.trim_start_matches('/'),
    });
}

/// Reads header and body.
fn open<R: Request>(context: &mut Context, mut frame: Bytes) -> Result<(i32, R), Closed> {
    let header: RequestHeader = decode_part(&mut frame, R::header_version(context.version))?;
    if context.client_id != header.client_id {
        // A copy: what came in the frame would keep all of it for as long as the connection lasts.
        context.client_id = header.client_id.as_ref().map(owned);
    }
    observe(context, R::KEY);
    // What follows a body is not looked at, as in Kafka.
    Ok((header.correlation_id, decode_part(&mut frame, context.version)?))
}

/// Writes header and body.
pub(crate) fn close<R: Request>(
    context: &Context,
    correlation: i32,
    reply: &impl Reply,
) -> Result<Option<Response>, Closed> {
    let mut response = Response::new();
    let header = ResponseHeader::default().with_correlation_id(correlation);
    encode(&header, R::Response::header_version(context.version), response.text())?;
    Ok(reply.write(&mut response, context.version)?.then_some(response))
}
