//! Topics and configs: Metadata, creation, deletion, growth, what is set on them.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::create_topics_response::CreatableTopicResult;
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::describe_configs_response::DescribeConfigsResult;
use kafka_protocol::messages::describe_topic_partitions_response::DescribeTopicPartitionsResponseTopic;
use kafka_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse as IncrementalResponse;
use kafka_protocol::messages::{
    AlterConfigsRequest, AlterConfigsResponse, CreatePartitionsRequest, CreatePartitionsResponse,
    CreateTopicsRequest, CreateTopicsResponse, DeleteTopicsRequest, DeleteTopicsResponse,
    DescribeConfigsRequest, DescribeConfigsResponse, DescribeTopicPartitionsRequest,
    DescribeTopicPartitionsResponse, IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
    MetadataRequest, MetadataResponse, TopicName,
};
use uuid::Uuid;

use super::{Named, See, Subject, ThrottleField};
use crate::server::connection::Context;

/// A topic, as resources of configs are numbered.
const TOPIC: i8 = 2;

/// A topic by its name, or by its id where it is named by that.
fn named(name: Option<&TopicName>, id: Uuid) -> Named<'_> {
    name.map_or(Named::TopicOf(id), |name| Named::Topic(name))
}

/// A request that asks for all topics names each of them.
fn see_all(context: &Context, see: See<'_>) {
    context.cluster.topics.all().iter().for_each(|topic| see(Named::Topic(&topic.name)));
}

impl Subject for MetadataRequest {
    const ASKS_PER_PARTITION: bool = true;
    const THROTTLE: ThrottleField = ThrottleField::First { from: 3 };

    fn names(&self, context: &Context, see: See<'_>) {
        match &self.topics {
            Some(topics) if context.version > 0 || !topics.is_empty() => {
                topics.iter().for_each(|topic| see(named(topic.name.as_ref(), topic.topic_id)));
            }
            _ => see_all(context, see),
        }
    }

    /// Each topic of the answer gets the error; without the brokers in it no client could go on.
    fn refuse(&self, _: &Context, _: ResponseError) -> Option<MetadataResponse> {
        None
    }
}

impl Subject for DescribeTopicPartitionsRequest {
    const ASKS_PER_PARTITION: bool = true;

    fn names(&self, context: &Context, see: See<'_>) {
        match self.topics.is_empty() {
            true => see_all(context, see),
            false => self.topics.iter().for_each(|topic| see(Named::Topic(&topic.name))),
        }
    }

    fn refuse(&self, _: &Context, error: ResponseError) -> Option<DescribeTopicPartitionsResponse> {
        let topics = self.topics.iter().map(|topic| {
            DescribeTopicPartitionsResponseTopic::default()
                .with_name(Some(topic.name.clone()))
                .with_error_code(error.code())
        });
        Some(DescribeTopicPartitionsResponse::default().with_topics(topics.collect()))
    }
}

impl Subject for CreateTopicsRequest {
    const ASKS_PER_PARTITION: bool = true;

    fn names(&self, _: &Context, see: See<'_>) {
        self.topics.iter().for_each(|topic| see(Named::Topic(&topic.name)));
    }

    fn refuse(&self, _: &Context, error: ResponseError) -> Option<CreateTopicsResponse> {
        let topics = self.topics.iter().map(|topic| {
            CreatableTopicResult::default().with_name(topic.name.clone()).with_error_code(error.code())
        });
        Some(CreateTopicsResponse::default().with_topics(topics.collect()))
    }
}

impl Subject for DeleteTopicsRequest {
    const ASKS_PER_PARTITION: bool = true;
    const THROTTLE: ThrottleField = ThrottleField::First { from: 1 };

    fn names(&self, _: &Context, see: See<'_>) {
        self.topic_names.iter().for_each(|name| see(Named::Topic(name)));
        self.topics.iter().for_each(|topic| see(named(topic.name.as_ref(), topic.topic_id)));
    }

    fn refuse(&self, _: &Context, error: ResponseError) -> Option<DeleteTopicsResponse> {
        let result = DeletableTopicResult::default().with_error_code(error.code());
        let old = self.topic_names.iter().map(|name| result.clone().with_name(Some(name.clone())));
        let new = self
            .topics
            .iter()
            .map(|topic| result.clone().with_name(topic.name.clone()).with_topic_id(topic.topic_id));
        Some(DeleteTopicsResponse::default().with_responses(old.chain(new).collect()))
    }
}

impl Subject for CreatePartitionsRequest {
    const ASKS_PER_PARTITION: bool = true;

    fn names(&self, _: &Context, see: See<'_>) {
        self.topics.iter().for_each(|topic| see(Named::Topic(&topic.name)));
    }

    fn refuse(&self, _: &Context, error: ResponseError) -> Option<CreatePartitionsResponse> {
        let results = self.topics.iter().map(|topic| {
            CreatePartitionsTopicResult::default().with_name(topic.name.clone()).with_error_code(error.code())
        });
        Some(CreatePartitionsResponse::default().with_results(results.collect()))
    }
}

/// Requests about the configs of resources, whose answer has an error for each.
macro_rules! about_resources {
    ($($request:ty, $response:ty, $with:ident, $result:ty;)*) => {$(
        impl Subject for $request {
            const ASKS_PER_PARTITION: bool = true;

            fn names(&self, _: &Context, see: See<'_>) {
                let topics = self.resources.iter().filter(|resource| resource.resource_type == TOPIC);
                topics.for_each(|topic| see(Named::Topic(&topic.resource_name)));
            }

            fn refuse(&self, _: &Context, error: ResponseError) -> Option<$response> {
                let results = self.resources.iter().map(|resource| {
                    <$result>::default()
                        .with_resource_type(resource.resource_type)
                        .with_resource_name(resource.resource_name.clone())
                        .with_error_code(error.code())
                });
                Some(<$response>::default().$with(results.collect()))
            }
        }
    )*};
}

about_resources! {
    DescribeConfigsRequest, DescribeConfigsResponse, with_results, DescribeConfigsResult;
    AlterConfigsRequest, AlterConfigsResponse, with_responses, AlterConfigsResourceResponse;
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse, with_responses, IncrementalResponse;
}
