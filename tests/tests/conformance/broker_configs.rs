//! Configs of brokers that are changed at run time: of one broker, and of all.

use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::{DescribeConfigsRequest, IncrementalAlterConfigsRequest};

use crate::asked::text;
use crate::kafka::{Kafka, until};
use crate::{row, said};

const BROKER: i8 = 4;
const RATE: &str = "leader.replication.throttled.rate";

/// Sets configs of a broker (of all without a name), or takes them back; `to` is who is asked.
async fn change(kafka: Kafka, to: i32, broker: &str, changes: &[(&str, Option<&str>)]) -> String {
    let change = |(name, value): &(&str, Option<&str>)| {
        AlterableConfig::default()
            .with_name(text(name))
            .with_config_operation(if value.is_some() { 0 } else { 1 })
            .with_value(value.map(text))
    };
    let resource = AlterConfigsResource::default()
        .with_resource_type(BROKER)
        .with_resource_name(text(broker))
        .with_configs(changes.iter().map(change).collect());
    let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
    let answer = kafka.broker(to).await.ask(kafka.version, &request).await;
    said::error(answer.responses[0].error_code)
}

/// A config as a broker shows it of itself, or (without a name) of all: `name=value from source`.
async fn shown(kafka: Kafka, to: i32, broker: &str, name: &str) -> String {
    let resource = DescribeConfigsResource::default()
        .with_resource_type(BROKER)
        .with_resource_name(text(broker))
        .with_configuration_keys(Some(vec![text(name)]));
    let request = DescribeConfigsRequest::default().with_resources(vec![resource]);
    let found = kafka.broker(to).await.ask(4, &request).await.results.remove(0);
    let found = found
        .configs
        .iter()
        .map(|config| format!("{} from {}", config.value.as_deref().unwrap_or("null"), config.config_source));
    found.collect::<Vec<_>>().join(" ")
}

async fn becomes(kafka: Kafka, to: i32, broker: &str, name: &str, wanted: &str) -> String {
    until(wanted, async || {
        let found = shown(kafka, to, broker, name).await;
        (found == wanted).then_some(found)
    })
    .await
}

row!(
    a_broker_is_throttled,
    "IncrementalAlterConfigs",
    0..=1,
    "leader.replication.throttled.rate of one broker, shown by it; taken back",
    "NONE, 1000 from 2; NONE, nothing",
    async |kafka| {
        let id = kafka.brokers()[2];
        let name = id.to_string();
        let set = change(kafka, id, &name, &[(RATE, Some("1000"))]).await;
        let there = becomes(kafka, id, &name, RATE, "1000 from 2").await;
        let back = change(kafka, id, &name, &[(RATE, None)]).await;
        until("the rate is gone", async || {
            (!shown(kafka, id, &name, RATE).await.contains("from 2")).then_some(())
        })
        .await;
        format!("{set}, {there}; {back}, nothing")
    }
);

row!(
    all_brokers_are_told,
    "IncrementalAlterConfigs",
    1..=1,
    "follower.replication.throttled.rate of all brokers, shown of all and by one; taken back",
    "NONE, 2000 from 3, 2000 from 3; NONE",
    async |kafka| {
        let (id, rate) = (kafka.brokers()[0], "follower.replication.throttled.rate");
        let set = change(kafka, id, "", &[(rate, Some("2000"))]).await;
        let of_all = becomes(kafka, id, "", rate, "2000 from 3").await;
        let of_one = becomes(kafka, id, &id.to_string(), rate, "2000 from 3").await;
        let back = change(kafka, id, "", &[(rate, None)]).await;
        format!("{set}, {of_all}, {of_one}; {back}")
    }
);

row!(
    what_brokers_are_not_told_at_run_time,
    "IncrementalAlterConfigs",
    1..=1,
    "of a broker: a rate of soon; num.partitions; a config that there is not, and its end; of a broker that is none; of one \
     by another; of a name",
    "INVALID_REQUEST, INVALID_REQUEST, NONE, NONE, INVALID_REQUEST, INVALID_REQUEST, INVALID_REQUEST",
    async |kafka| {
        let brokers = kafka.brokers();
        let (one, other) = (brokers[0], brokers[1]);
        let name = one.to_string();
        said::list([
            change(kafka, one, &name, &[(RATE, Some("soon"))]).await,
            change(kafka, one, &name, &[("num.partitions", Some("3"))]).await,
            change(kafka, one, &name, &[("no.such", Some("3"))]).await,
            change(kafka, one, &name, &[("no.such", None)]).await,
            change(kafka, one, "99", &[(RATE, Some("3"))]).await,
            change(kafka, other, &name, &[(RATE, None)]).await,
            change(kafka, one, "one", &[(RATE, Some("3"))]).await,
        ])
    }
);
