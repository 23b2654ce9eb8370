//! Metadata and DescribeCluster.

use kafka_protocol::messages::MetadataRequest;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;

use crate::asked::topic_name;
use crate::row;
use crate::said;

row!(
    unknown_topic_is_not_created,
    "Metadata",
    4..=13,
    "a topic that does not exist, creation not allowed",
    "UNKNOWN_TOPIC_OR_PARTITION, no partitions",
    async |kafka| {
        let wanted = MetadataRequestTopic::default().with_name(Some(topic_name(&kafka.name("none"))));
        let request =
            MetadataRequest::default().with_topics(Some(vec![wanted])).with_allow_auto_topic_creation(false);
        let topic = kafka.any().await.ask(kafka.version, &request).await.topics.remove(0);
        let partitions = if topic.partitions.is_empty() { "no partitions" } else { "partitions" };
        format!("{}, {partitions}", said::error(topic.error_code))
    }
);
