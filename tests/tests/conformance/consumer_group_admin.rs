//! ConsumerGroupDescribe, and how groups of KIP-848 are described, listed and deleted as others are.

use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::{
    ConsumerGroupDescribeRequest, DeleteGroupsRequest, DescribeConfigsRequest, DescribeGroupsRequest,
    ListGroupsRequest,
};

use crate::asked::{group_id, text};
use crate::consumer_group::Group;
use crate::kafka::until;
use crate::row;
use crate::said;

row!(
    described,
    "ConsumerGroupDescribe",
    0..=1,
    "a group of one member; a classic group; none",
    "NONE Stable, epochs 1 and 1, uniform, one member in epoch 1; GROUP_ID_NOT_FOUND Group classic is not a consumer \
     group.; GROUP_ID_NOT_FOUND Group none not found.",
    async |kafka| {
        let mut group = Group::new(kafka).await;
        group.told(&group.join("one")).await;
        let mut classic = Group::new(kafka).await;
        classic.classic_alone("consumer").await;
        let none = kafka.name("group");
        let mut said = Vec::new();
        for name in [&group.name, &classic.name, &none] {
            let mut wire = kafka.coordinator(name).await;
            let request = ConsumerGroupDescribeRequest::default().with_group_ids(vec![group_id(name)]);
            // Kafka shows a group when it is written.
            let known = until("the group", async || {
                let one = wire.ask(kafka.version, &request).await.groups.remove(0);
                let missing = one.error_message.as_deref().is_some_and(|words| words.ends_with("not found."));
                (!missing || *name == none).then_some(one)
            });
            let one = known.await;
            said.push(match one.members.first() {
                Some(member) => format!(
                    "NONE {}, epochs {} and {}, {}, one member in epoch {}",
                    &*one.group_state,
                    one.group_epoch,
                    one.assignment_epoch,
                    &*one.assignor_name,
                    member.member_epoch
                ),
                None => {
                    let words = one.error_message.unwrap_or_default();
                    let words = words.replace(&classic.name, "classic").replace(&none, "none");
                    format!("{} {words}", said::error(one.error_code))
                }
            });
        }
        said.join("; ")
    }
);

row!(
    a_group_of_the_new_protocol_described_the_old_way,
    "DescribeGroups",
    6..=6,
    "a group of KIP-848",
    "GROUP_ID_NOT_FOUND Dead Group g is not a classic group.",
    async |kafka| {
        let mut group = Group::new(kafka).await;
        group.told(&group.join("one")).await;
        let request = DescribeGroupsRequest::default().with_groups(vec![group_id(&group.name)]);
        let one = group.wire.ask(6, &request).await.groups.remove(0);
        let words = one.error_message.unwrap_or_default().replace(&group.name, "g");
        format!("{} {} {words}", said::error(one.error_code), &*one.group_state)
    }
);

row!(
    listed_by_type,
    "ListGroups",
    5..=5,
    "a group of KIP-848, asked for by type",
    "consumer Stable consumer; not classic",
    async |kafka| {
        let mut group = Group::new(kafka).await;
        group.told(&group.join("one")).await;
        let of = |kind: &str| ListGroupsRequest::default().with_types_filter(vec![text(kind)]);
        let own = |groups: Vec<kafka_protocol::messages::list_groups_response::ListedGroup>| {
            groups.into_iter().find(|one| *one.group_id == *text(&group.name))
        };
        let listed = own(group.wire.ask(5, &of("consumer")).await.groups).expect("listed");
        let classic = own(group.wire.ask(5, &of("classic")).await.groups);
        let classic = if classic.is_some() { "classic too" } else { "not classic" };
        format!("{} {} {}; {classic}", &*listed.protocol_type, &*listed.group_state, &*listed.group_type)
    }
);

row!(
    deleted_when_empty,
    "DeleteGroups",
    2..=2,
    "a group of KIP-848 with a member, and without; then a heartbeat",
    "NON_EMPTY_GROUP; NONE; GROUP_ID_NOT_FOUND",
    async |kafka| {
        let mut group = Group::new(kafka).await;
        group.told(&group.join("one")).await;
        let delete = DeleteGroupsRequest::default().with_groups_names(vec![group_id(&group.name)]);
        let full = said::error(group.wire.ask(2, &delete).await.results[0].error_code);
        group.told(&group.beat("one", -1)).await;
        let empty = said::error(group.wire.ask(2, &delete).await.results[0].error_code);
        format!("{full}; {empty}; {}", group.told(&group.beat("one", 1)).await)
    }
);

row!(
    what_a_group_is_told_to_keep_to,
    "DescribeConfigs",
    4..=4,
    "heartbeat interval and session timeout of a group that there is not yet",
    "NONE; consumer.heartbeat.interval.ms, a number by default; consumer.session.timeout.ms, a number by default",
    async |kafka| {
        let mut wire = kafka.any().await;
        let names = ["consumer.heartbeat.interval.ms", "consumer.session.timeout.ms"];
        let resource = DescribeConfigsResource::default()
            .with_resource_type(32)
            .with_resource_name(text(&kafka.name("group")))
            .with_configuration_keys(Some(names.map(text).to_vec()));
        let request = DescribeConfigsRequest::default().with_resources(vec![resource]);
        let result = wire.ask(4, &request).await.results.remove(0);
        let mut told = vec![said::error(result.error_code)];
        let mut configs = result.configs;
        configs.sort_by_key(|config| config.name.to_string());
        for config in configs {
            let number = config.value.is_some_and(|value| value.parse::<u32>().is_ok());
            let source = match config.config_source {
                5 => "default".to_owned(),
                other => other.to_string(),
            };
            told.push(format!("{}, {} by {source}", &*config.name, if number { "a number" } else { "none" }));
        }
        told.join("; ")
    }
);
