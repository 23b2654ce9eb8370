//! A broker of these tests' own: it does what a coordinator does, unless it is told what to answer.

use std::collections::BTreeSet;
use std::time::Duration;

use kafka_protocol::ResponseError as E;
use kafka_protocol::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnTopicResult,
};
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::api_versions_response::FinalizedFeatureKey;
use kafka_protocol::messages::find_coordinator_response::Coordinator as Found;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddOffsetsToTxnResponse, AddPartitionsToTxnRequest, AddPartitionsToTxnResponse,
    ApiVersionsRequest, ApiVersionsResponse, BrokerId, EndTxnRequest, EndTxnResponse, FindCoordinatorRequest,
    FindCoordinatorResponse, InitProducerIdRequest, InitProducerIdResponse, MetadataRequest,
    MetadataResponse, ProduceRequest, ProduceResponse, ProducerId, TxnOffsetCommitRequest,
    TxnOffsetCommitResponse,
};
use kafka_protocol::protocol::{Request, StrBytes};
use tokio::time::Instant;

use crate::net::fake::{Asked, Reply};
use crate::records::Batches;
use crate::wire;

/// One broker that is leader and coordinator of everything.
#[derive(Default)]
pub(super) struct Broker {
    pub(super) feature: i16,
    /// InitProducerId's highest version.
    pub(super) init: i16,
    pub(super) epoch: i16,
    pub(super) members: BTreeSet<i32>,
    /// Values of the open transaction, and those that were committed.
    pub(super) open: Vec<Vec<u8>>,
    pub(super) committed: Vec<Vec<u8>>,
    pub(super) offsets: Vec<(i64, i32, String)>,
    pub(super) ends: Vec<bool>,
    /// The next codes of an API.
    pub(super) codes: Vec<(i16, i16)>,
    /// APIs whose next request is not answered (but done).
    pub(super) lost: Vec<i16>,
    /// How long a batch is written.
    pub(super) writes_for: Duration,
    pub(super) writes_until: Option<Instant>,
    /// How many ends came while a batch was being written.
    pub(super) overtaken: usize,
}

impl Broker {
    fn code<R: Request>(&mut self) -> i16 {
        let found = self.codes.iter().position(|(key, _)| *key == R::KEY);
        found.map_or(0, |at| self.codes.remove(at).1)
    }

    pub(super) fn answer(&mut self, asked: &Asked) -> Reply {
        let reply = match asked.api_key {
            key if key == ApiVersionsRequest::KEY => self.versions(asked),
            key if key == MetadataRequest::KEY => metadata(asked),
            key if key == FindCoordinatorRequest::KEY => {
                let request: FindCoordinatorRequest = asked.read();
                let found = request
                    .coordinator_keys
                    .into_iter()
                    .map(|key| Found::default().with_key(key).with_node_id(BrokerId(1)));
                asked.answer(&FindCoordinatorResponse::default().with_coordinators(found.collect()))
            }
            key if key == InitProducerIdRequest::KEY => self.init(asked),
            key if key == AddPartitionsToTxnRequest::KEY => self.add(asked),
            key if key == AddOffsetsToTxnRequest::KEY => {
                let code = self.code::<AddOffsetsToTxnRequest>();
                asked.answer(&AddOffsetsToTxnResponse::default().with_error_code(code))
            }
            key if key == TxnOffsetCommitRequest::KEY => self.commit(asked),
            key if key == EndTxnRequest::KEY => self.end(asked),
            _ => self.produce(asked),
        };
        match self.lost.iter().position(|key| *key == asked.api_key) {
            Some(at) => {
                self.lost.remove(at);
                Reply::Close
            }
            None => reply,
        }
    }

    fn versions(&self, asked: &Asked) -> Reply {
        let apis = (0..100i16).filter_map(|key| wire::supported(key).map(|range| (key, range)));
        let apis = apis.map(|(key, range)| {
            let max = if key == InitProducerIdRequest::KEY { range.max.min(self.init) } else { range.max };
            ApiVersion::default().with_api_key(key).with_min_version(range.min).with_max_version(max)
        });
        let feature = FinalizedFeatureKey::default()
            .with_name(StrBytes::from_static_str("transaction.version"))
            .with_max_version_level(self.feature);
        asked.answer(
            &ApiVersionsResponse::default()
                .with_api_keys(apis.collect())
                .with_finalized_features_epoch(1)
                .with_finalized_features(vec![feature]),
        )
    }

    fn init(&mut self, asked: &Asked) -> Reply {
        let request: InitProducerIdRequest = asked.read();
        let code = self.code::<InitProducerIdRequest>();
        let held = request.producer_id.0 >= 0;
        let fenced = held && request.producer_epoch != self.epoch;
        let code = if fenced && code == 0 { E::ProducerFenced.code() } else { code };
        if code == 0 {
            self.epoch += 1;
            self.open.clear();
        }
        asked.answer(
            &InitProducerIdResponse::default()
                .with_error_code(code)
                .with_producer_id(ProducerId(7))
                .with_producer_epoch(self.epoch),
        )
    }

    fn add(&mut self, asked: &Asked) -> Reply {
        let request: AddPartitionsToTxnRequest = asked.read();
        let code = self.code::<AddPartitionsToTxnRequest>();
        let topics = request.v3_and_below_topics.into_iter().map(|topic| {
            let results = topic.partitions.into_iter().map(|partition| {
                if code == 0 {
                    self.members.insert(partition);
                }
                AddPartitionsToTxnPartitionResult::default()
                    .with_partition_index(partition)
                    .with_partition_error_code(code)
            });
            AddPartitionsToTxnTopicResult::default()
                .with_name(topic.name)
                .with_results_by_partition(results.collect())
        });
        let topics = topics.collect();
        asked.answer(&AddPartitionsToTxnResponse::default().with_results_by_topic_v3_and_below(topics))
    }

    fn commit(&mut self, asked: &Asked) -> Reply {
        let request: TxnOffsetCommitRequest = asked.read();
        assert_eq!(asked.version >= 5, self.feature >= 2);
        let code = self.code::<TxnOffsetCommitRequest>();
        let (generation, member) = (request.generation_id, request.member_id.to_string());
        let topics = request.topics.into_iter().map(|topic| {
            let partitions = topic.partitions.into_iter().map(|partition| {
                self.offsets.push((partition.committed_offset, generation, member.clone()));
                TxnOffsetCommitResponsePartition::default()
                    .with_partition_index(partition.partition_index)
                    .with_error_code(code)
            });
            TxnOffsetCommitResponseTopic::default()
                .with_name(topic.name)
                .with_partitions(partitions.collect())
        });
        let topics = topics.collect();
        asked.answer(&TxnOffsetCommitResponse::default().with_topics(topics))
    }

    fn end(&mut self, asked: &Asked) -> Reply {
        let request: EndTxnRequest = asked.read();
        assert_eq!(asked.version >= 5, self.feature >= 2);
        self.overtaken += usize::from(self.writes_until.is_some_and(|until| Instant::now() < until));
        let mut code = self.code::<EndTxnRequest>();
        let repeated = self.feature >= 2 && request.producer_epoch == self.epoch - 1;
        if code == 0 && request.producer_epoch != self.epoch && !repeated {
            code = E::ProducerFenced.code();
        }
        if code == 0 && !repeated {
            self.ends.push(request.committed);
            let values = std::mem::take(&mut self.open);
            if request.committed {
                self.committed.extend(values);
            }
            self.members.clear();
            self.epoch += i16::from(self.feature >= 2);
        }
        let response = EndTxnResponse::default().with_error_code(code);
        asked.answer(&match self.feature >= 2 && code == 0 {
            true => response.with_producer_id(ProducerId(7)).with_producer_epoch(self.epoch),
            false => response,
        })
    }

    fn produce(&mut self, asked: &Asked) -> Reply {
        let request: ProduceRequest = asked.read();
        assert_eq!(asked.version >= 12, self.feature >= 2);
        assert_eq!(request.transactional_id.unwrap().as_str(), "id");
        let code = self.code::<ProduceRequest>();
        let topics = request.topic_data.iter().map(|topic| {
            let partitions = topic.partition_data.iter().map(|data| {
                let mut code = code;
                let batch = Batches::new(data.records.clone().unwrap(), true).next_batch().unwrap().unwrap();
                assert!(batch.header().is_transactional);
                assert!(self.feature >= 2 || self.members.contains(&data.index), "it was not added");
                if code == 0 && batch.header().producer_epoch != self.epoch {
                    code = E::InvalidProducerEpoch.code();
                }
                if code == 0 {
                    self.open.extend(batch.records().map(|record| record.unwrap().value.unwrap().to_vec()));
                }
                PartitionProduceResponse::default().with_index(data.index).with_error_code(code)
            });
            TopicProduceResponse::default()
                .with_name(topic.name.clone())
                .with_partition_responses(partitions.collect())
        });
        let topics = topics.collect();
        self.writes_until = Some(Instant::now() + self.writes_for);
        let answer = asked.answer(&ProduceResponse::default().with_responses(topics));
        match self.writes_for.is_zero() {
            true => answer,
            false => Reply::After(self.writes_for, Box::new(answer)),
        }
    }
}

fn metadata(asked: &Asked) -> Reply {
    let request: MetadataRequest = asked.read();
    let partition =
        |index| MetadataResponsePartition::default().with_partition_index(index).with_leader_id(BrokerId(1));
    let topics = request.topics.unwrap_or_default().into_iter().map(|topic| {
        MetadataResponseTopic::default()
            .with_name(topic.name)
            .with_partitions((0..3).map(partition).collect())
    });
    let host = StrBytes::from_static_str("host-1");
    let broker = MetadataResponseBroker::default().with_node_id(BrokerId(1)).with_host(host).with_port(9092);
    asked.answer(&MetadataResponse::default().with_topics(topics.collect()).with_brokers(vec![broker]))
}
