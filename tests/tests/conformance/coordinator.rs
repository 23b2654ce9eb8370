//! FindCoordinator.

use kafka_protocol::messages::FindCoordinatorRequest;

use crate::asked::text;
use crate::row;
use crate::said;

row!(
    one_coordinator_for_all_who_ask,
    "FindCoordinator",
    4..=6,
    "every broker, for two groups",
    "NONE; all name the same brokers",
    async |kafka| {
        let groups = [kafka.name("group"), kafka.name("group")];
        for group in &groups {
            kafka.coordinator(group).await;
        }
        let request = FindCoordinatorRequest::default()
            .with_coordinator_keys(groups.iter().map(|name| text(name)).collect());
        let mut answers = Vec::new();
        for id in kafka.brokers() {
            let found = kafka.broker(id).await.ask(kafka.version, &request).await.coordinators;
            answers.push(found.iter().map(|one| (one.error_code, one.node_id, one.port)).collect::<Vec<_>>());
        }
        answers.dedup();
        let same = if answers.len() == 1 { "the same brokers" } else { "other brokers" };
        format!("{}; all name {same}", said::error(answers[0][0].0))
    }
);

row!(
    before_many_keys,
    "FindCoordinator",
    0..=3,
    "one group, in the fields of old versions",
    "NONE, a broker",
    async |kafka| {
        let group = kafka.name("group");
        kafka.coordinator(&group).await;
        let request = FindCoordinatorRequest::default().with_key(text(&group));
        let found = kafka.any().await.ask(kafka.version, &request).await;
        let known = if kafka.brokers().contains(&found.node_id.0) { "a broker" } else { "nobody" };
        format!("{}, {known}", said::error(found.error_code))
    }
);

row!(
    unknown_key_type,
    "FindCoordinator",
    1..=6,
    "a key type that does not exist",
    "INVALID_REQUEST",
    async |kafka| {
        let request = FindCoordinatorRequest::default().with_key_type(9);
        let request = match kafka.version {
            4.. => request.with_coordinator_keys(vec![text("key")]),
            _ => request.with_key(text("key")),
        };
        let found = kafka.any().await.ask(kafka.version, &request).await;
        said::error(found.coordinators.first().map_or(found.error_code, |one| one.error_code))
    }
);
