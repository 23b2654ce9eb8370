//! Combinations that cannot work, each refused with the places of what it is made of.

use std::collections::HashMap;

use kafka_client::config::{GroupConfig, GroupProtocol, Subscription};

use super::super::origin::Origin;
use super::super::problems::Problem;
use super::super::settings::ListenerSettings;
use super::super::value::Value as _;
use super::subscription::at_attribute;
use super::{Binding, Declared};

impl Binding<'_> {
    /// Where the setting was said; the attribute where it was not.
    pub(super) fn origin_or(&self, listener: &Declared, name: &str) -> Origin {
        match self.origin_of(name) {
            Origin::Default | Origin::Derived(_) => {
                Origin::Attribute { location: listener.location, argument: name.into() }
            }
            said => said,
        }
    }

    /// The setting follows from another unless it was said itself.
    pub(super) fn derive(&mut self, name: &str, from: &Origin) {
        let rows = self.sections.last_mut().map(|section| section.rows.as_mut_slice()).unwrap_or_default();
        for row in rows.iter_mut().filter(|row| row.name == name && row.origin == Origin::Default) {
            row.origin = from.clone();
        }
    }
}

/// What must hold in one listener.
pub(super) fn of_listener(binding: &mut Binding<'_>, listener: &Declared, settings: &ListenerSettings) {
    group(binding, listener, settings);
    if let Some(group) = &settings.consumer.group {
        match group.protocol {
            GroupProtocol::Classic => heartbeat(binding, group),
            GroupProtocol::Consumer => coordinators_choice(binding),
            _ => {}
        }
        remote_assignor(binding, group);
    }
    fetch_wait(binding, settings);
    members(binding, listener, settings);
}

fn group(binding: &mut Binding<'_>, listener: &Declared, settings: &ListenerSettings) {
    if settings.consumer.group.is_some() || binding.is_broken(&["group.id"]) {
        return;
    }
    let shared = !matches!(settings.consumer.subscription, Subscription::Partitions(_));
    if shared {
        let what = format!("listener `{}` has no group", listener.id);
        let help = "name one in its attribute (group = \"..\") or under `spring.kafka.consumer.group-id`";
        binding.problems.error(at_attribute(listener, "", what).help(help));
        return;
    }
    let committed =
        listener.attributes.partitions.iter().any(|partitions| partitions.from == Some("committed"));
    if committed {
        let what = format!(
            "listener `{}` starts at committed offsets, and has no group that commits any",
            listener.id
        );
        binding.problems.error(at_attribute(listener, "partitions", what));
    }
}

/// With KIP-848 the coordinator decides these; Java refuses them too.
fn coordinators_choice(binding: &mut Binding<'_>) {
    let theirs = [
        ("session.timeout.ms", "the broker's group.consumer.session.timeout.ms counts"),
        ("heartbeat.interval.ms", "the broker's group.consumer.heartbeat.interval.ms counts"),
        ("partition.assignment.strategy", "group.remote.assignor asks the coordinator for an assignor"),
    ];
    let protocol = binding.origin_of("group.protocol");
    for (name, instead) in theirs {
        let at = binding.origin_of(name);
        if at != Origin::Default {
            let what = format!("cannot be set with group.protocol consumer ({protocol})");
            binding.problems.error(Problem::new(at, name, what).help(instead));
        }
    }
}

fn remote_assignor(binding: &mut Binding<'_>, group: &GroupConfig) {
    let name = "group.remote.assignor";
    if group.protocol == GroupProtocol::Classic && group.remote_assignor.is_some() {
        let problem =
            Problem::new(binding.origin_of(name), name, "cannot be set with group.protocol classic");
        binding
            .problems
            .error(problem.help("partition.assignment.strategy names the assignors of that protocol"));
    }
}

fn heartbeat(binding: &mut Binding<'_>, group: &GroupConfig) {
    let names = ["heartbeat.interval.ms", "session.timeout.ms"];
    if group.heartbeat_interval < group.session_timeout || binding.is_broken(&names) {
        return;
    }
    let (heartbeat, session) = (binding.origin_of(names[0]), binding.origin_of(names[1]));
    let what = format!(
        "({}, {heartbeat}) must be below session.timeout.ms ({}, {session})",
        group.heartbeat_interval.show(),
        group.session_timeout.show(),
    );
    let at = if heartbeat == Origin::Default { session } else { heartbeat };
    let problem = Problem::new(at, names[0], what).help("a third of it is usual");
    binding.problems.error(problem);
}

fn fetch_wait(binding: &mut Binding<'_>, settings: &ListenerSettings) {
    let names = ["fetch.max.wait.ms", "request.timeout.ms"];
    let (wait, timeout) = (settings.consumer.fetch.max_wait, settings.client.request_timeout);
    if wait < timeout || binding.is_broken(&names) {
        return;
    }
    let what = format!(
        "({}) must be below request.timeout.ms ({}), or every fetch times out",
        wait.show(),
        timeout.show()
    );
    let at = match binding.origin_of(names[0]) {
        Origin::Default => binding.origin_of(names[1]),
        said => said,
    };
    binding.problems.error(Problem::new(at, names[0], what));
}

fn members(binding: &mut Binding<'_>, listener: &Declared, settings: &ListenerSettings) {
    let fixed = matches!(settings.consumer.subscription, Subscription::Partitions(_));
    if fixed && settings.members > 1 {
        let what = format!(
            "= {} makes no sense for listener `{}`: its partitions are fixed",
            settings.members, listener.id
        );
        let at = binding.origin_or(listener, "members");
        binding.problems.error(Problem::new(at, "members", what));
    }
}

/// What must hold among the listeners: two static members of one group cannot have one name, and a client id is one
/// client's.
pub(crate) fn across(binding: &mut Binding<'_>, listeners: &[Declared], settings: &mut [ListenerSettings]) {
    let mut instances: HashMap<(String, String), &str> = HashMap::new();
    let mut next: HashMap<String, usize> = HashMap::new();
    for (listener, settings) in listeners.iter().zip(settings) {
        let number = next.entry(settings.client_ids.base.clone()).or_insert(settings.client_ids.first);
        settings.client_ids.first = *number;
        *number += settings.members;
        settings.client.client_id = settings.client_ids.of_member(0);
        let Some(group) = &settings.consumer.group else { continue };
        let Some(instance) = &group.instance_id else { continue };
        let key = (group.group_id.clone(), instance.clone());
        if let Some(other) = instances.insert(key, listener.id) {
            let what = format!(
                "listeners `{other}` and `{}` are both `{instance}` in group `{}`: each would put the other out",
                listener.id, group.group_id
            );
            let help =
                "give each its own group.instance.id (`properties` under `kafka-runtime.listeners.<id>`)";
            binding.problems.error(at_attribute(listener, "", what).help(help));
        }
    }
}
