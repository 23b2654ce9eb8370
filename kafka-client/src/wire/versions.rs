//! The APIs that this client speaks, and the highest version of each that is a client's.

use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, ApiVersionsRequest, ConsumerGroupDescribeRequest,
    ConsumerGroupHeartbeatRequest, CreatePartitionsRequest, CreateTopicsRequest, DeleteGroupsRequest,
    DeleteRecordsRequest, DeleteTopicsRequest, DescribeClusterRequest, DescribeConfigsRequest,
    DescribeGroupsRequest, EndTxnRequest, FetchRequest, FindCoordinatorRequest, HeartbeatRequest,
    IncrementalAlterConfigsRequest, InitProducerIdRequest, JoinGroupRequest, LeaveGroupRequest,
    ListGroupsRequest, ListOffsetsRequest, MetadataRequest, OffsetCommitRequest, OffsetFetchRequest,
    OffsetForLeaderEpochRequest, ProduceRequest, SaslAuthenticateRequest, SaslHandshakeRequest,
    SyncGroupRequest, TxnOffsetCommitRequest,
};
use kafka_protocol::protocol::{Message, Request, VersionRange};

/// What is known of one API.
#[derive(Debug, Clone, Copy)]
pub struct Api {
    /// Kafka's number of it.
    pub key: i16,
    /// Kafka's name of it.
    pub name: &'static str,
    /// The versions that this client may use.
    pub versions: VersionRange,
    /// From which version on an answer begins with `throttle_time_ms`.
    pub(super) throttled_from: Option<i16>,
}

/// `XRequest, highest version, answers begin with throttle_time_ms from; why no higher`. The lowest version, and the
/// highest that can be encoded, are `kafka-protocol`'s.
macro_rules! apis {
    ($($request:ident $name:literal, $max:literal, $throttled:expr; $why:literal)*) => {
        &[$(Api {
            key: $request::KEY,
            name: $name,
            versions: VersionRange {
                min: $request::VERSIONS.min,
                max: if $request::VERSIONS.max < $max { $request::VERSIONS.max } else { $max },
            },
            throttled_from: $throttled,
        }),*]
    };
}

const APIS: &[Api] = apis! {
    ProduceRequest "Produce", 12, None;
        "13 names topics by id; in a transaction see `highest_in_transaction`"
    FetchRequest "Fetch", 16, Some(1);
        "13 names topics by id, 16 tells the new leader's address (KIP-951); 17 and 18 are for followers"
    ListOffsetsRequest "ListOffsets", 9, Some(2); "10 adds a timeout for tiered storage"
    MetadataRequest "Metadata", 13, Some(3); "13 can ask for a rebootstrap (KIP-1102)"
    OffsetCommitRequest "OffsetCommit", 9, Some(3); "10 names topics by id"
    OffsetFetchRequest "OffsetFetch", 9, Some(3); "10 names topics by id; from 8 on many groups in one request"
    FindCoordinatorRequest "FindCoordinator", 4, Some(1);
        "5 only adds TRANSACTION_ABORTABLE, 6 share groups; from 4 on many keys in one request"
    JoinGroupRequest "JoinGroup", 9, Some(2); "the highest"
    HeartbeatRequest "Heartbeat", 4, Some(1); "the highest"
    LeaveGroupRequest "LeaveGroup", 5, Some(1); "the highest"
    SyncGroupRequest "SyncGroup", 5, Some(1); "the highest"
    DescribeGroupsRequest "DescribeGroups", 5, Some(1); "6 answers with an error where 5 answers with state Dead"
    ListGroupsRequest "ListGroups", 5, Some(1); "the highest"
    SaslHandshakeRequest "SaslHandshake", 1, None; "the highest"
    ApiVersionsRequest "ApiVersions", 3, None; "4 only changes how features of version 0 are told"
    CreateTopicsRequest "CreateTopics", 7, Some(2); "the highest"
    DeleteTopicsRequest "DeleteTopics", 5, Some(1); "6 names topics by id as well, in another field"
    DeleteRecordsRequest "DeleteRecords", 2, Some(0); "the highest"
    InitProducerIdRequest "InitProducerId", 4, Some(0); "5 only adds TRANSACTION_ABORTABLE (KIP-890)"
    OffsetForLeaderEpochRequest "OffsetForLeaderEpoch", 4, Some(2); "the highest"
    AddPartitionsToTxnRequest "AddPartitionsToTxn", 3, Some(0); "from 4 on it is for brokers"
    AddOffsetsToTxnRequest "AddOffsetsToTxn", 3, Some(0); "4 only adds TRANSACTION_ABORTABLE (KIP-890)"
    EndTxnRequest "EndTxn", 5, Some(0); "the highest; see `highest_in_transaction`"
    TxnOffsetCommitRequest "TxnOffsetCommit", 5, Some(0); "the highest; see `highest_in_transaction`"
    DescribeConfigsRequest "DescribeConfigs", 4, Some(0); "the highest"
    SaslAuthenticateRequest "SaslAuthenticate", 2, None; "the highest"
    CreatePartitionsRequest "CreatePartitions", 3, Some(0); "the highest"
    DeleteGroupsRequest "DeleteGroups", 2, Some(0); "the highest"
    IncrementalAlterConfigsRequest "IncrementalAlterConfigs", 1, Some(0); "the highest"
    DescribeClusterRequest "DescribeCluster", 1, Some(0); "2 tells fenced brokers"
    ConsumerGroupHeartbeatRequest "ConsumerGroupHeartbeat", 1, Some(0); "the highest"
    ConsumerGroupDescribeRequest "ConsumerGroupDescribe", 1, Some(0); "the highest"
};

/// What is known of API `key`, `None` for one that this client does not speak.
#[must_use]
pub fn api(key: i16) -> Option<&'static Api> {
    APIS.iter().find(|api| api.key == key)
}

/// The versions of request `api_key` that this client may use, `None` for an API it does not speak.
#[must_use]
pub fn supported(api_key: i16) -> Option<VersionRange> {
    api(api_key).map(|api| api.versions)
}

/// Where a version says that partitions and groups join a transaction by being written to, and that its end raises the
/// epoch (KIP-890).
const KIP_890: &[(i16, i16)] =
    &[(ProduceRequest::KEY, 12), (EndTxnRequest::KEY, 5), (TxnOffsetCommitRequest::KEY, 5)];

/// The finalised `transaction.version` from which on those versions may be used.
pub(crate) const KIP_890_FEATURE: i16 = 2;

/// The highest version of request `api_key` in a transaction, on a cluster whose finalised feature
/// `transaction.version` is `feature` (0 where the broker tells none).
pub(crate) fn highest_in_transaction(api_key: i16, feature: i16) -> i16 {
    let first = KIP_890.iter().find(|(key, _)| *key == api_key).map(|(_, first)| *first);
    first.filter(|_| feature < KIP_890_FEATURE).map_or(i16::MAX, |first| first - 1)
}

#[cfg(test)]
pub(super) fn all() -> &'static [Api] {
    APIS
}
