//! The configuration of topics.

use std::collections::BTreeMap;
use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::{DescribeConfigsRequest, IncrementalAlterConfigsRequest};
use kafka_protocol::protocol::StrBytes;

use super::TopicConfig;
use super::topics::{in_order, on_controller};
use crate::error::{At, Error, Result};
use crate::ids::TopicName;
use crate::net::{NEXT_AFTER, Pool, Purpose, Retry};

/// The type of a topic's configuration among those of other resources.
const TOPIC: i8 = 2;
/// The operation that sets a value.
const SET: i8 = 0;

pub(super) async fn describe(
    pool: &Pool,
    topics: &[String],
    timeout: Duration,
) -> Result<Vec<(String, Result<TopicConfig>)>> {
    let resource = |topic: &String| {
        let named = DescribeConfigsResource::default().with_resource_type(TOPIC);
        named.with_resource_name(StrBytes::from_string(topic.clone())).with_configuration_keys(None)
    };
    let request = DescribeConfigsRequest::default().with_resources(topics.iter().map(resource).collect());
    let mut retry = Retry::within(pool.cluster(), timeout);
    let answer = loop {
        let request = request.clone();
        match pool.ask(Purpose::Control, retry.left(), NEXT_AFTER, move |_| request.clone()).await {
            Ok((_, answer)) => break answer.body,
            Err(error) => retry.after(error).await?,
        }
    };
    let told = topics.iter().map(|topic| {
        let result = answer.results.iter().find(|result| *result.resource_name == **topic);
        let refused = |code, words| {
            Err(Error::answered("DescribeConfigs", code, At::Topic(TopicName::new(topic)), words))
        };
        let config = match result.map(|found| (found, ResponseError::try_from_code(found.error_code))) {
            None => refused(ResponseError::UnknownServerError, Some("nothing was said of this topic")),
            Some((found, Some(code))) => refused(code, found.error_message.as_deref()),
            Some((found, None)) => {
                let value = |value: &StrBytes| value.to_string();
                let all = found.configs.iter();
                Ok(all.map(|one| (one.name.to_string(), one.value.as_ref().map(value))).collect())
            }
        };
        (topic.clone(), config)
    });
    Ok(told.collect())
}

pub(super) async fn alter(
    pool: &Pool,
    changes: &[(String, BTreeMap<String, String>)],
    timeout: Duration,
) -> Result<Vec<(String, Result<()>)>> {
    let set = |(name, value): (&String, &String)| {
        let named = AlterableConfig::default().with_name(StrBytes::from_string(name.clone()));
        named.with_config_operation(SET).with_value(Some(StrBytes::from_string(value.clone())))
    };
    let resource = |(topic, config): &(String, BTreeMap<String, String>)| {
        let named = AlterConfigsResource::default().with_resource_type(TOPIC);
        let named = named.with_resource_name(StrBytes::from_string(topic.clone()));
        named.with_configs(config.iter().map(set).collect())
    };
    let request =
        IncrementalAlterConfigsRequest::default().with_resources(changes.iter().map(resource).collect());
    let said = on_controller(
        pool,
        "IncrementalAlterConfigs",
        timeout,
        |_| request.clone(),
        |response| {
            let said = response.responses.iter();
            said.map(|one| (one.resource_name.to_string(), one.error_code, one.error_message.clone()))
                .collect()
        },
    );
    let names = changes.iter().map(|(topic, _)| topic.as_str());
    Ok(in_order("IncrementalAlterConfigs", names, &said.await?))
}
