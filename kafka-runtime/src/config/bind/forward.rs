//! Where what a handler returns goes.

use kafka_client::TopicName;
use kafka_client::config::Subscription;

use super::super::problems::Problem;
use super::super::settings::{ListenerSettings, SendTo};
use super::{Binding, Declared, Place, of_listener};

const NAME: &str = "send-to";

/// The attribute says whether, since the handler's type depends on it; the file may say where else to.
pub(super) fn send_to(binding: &mut Binding<'_>, listener: &Declared) -> Option<SendTo> {
    let mut places = vec![Place::ours(format!("{}.send-to", of_listener(listener)))];
    places.extend(Place::attribute(listener, "send_to", listener.attributes.send_to));
    let read = |text: &str, _| {
        let name = text.trim();
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let is_name = !name.is_empty() && name.len() <= 249 && name != "." && name != "..";
        match is_name && name.chars().all(legal) {
            true => Ok(Some(TopicName::new(name))),
            false => Err("cannot be the name of a topic: letters, digits, `.`, `_` and `-`".to_owned()),
        }
    };
    let show =
        |topic: &Option<TopicName>| topic.map_or_else(|| "nowhere".to_owned(), |topic| topic.to_string());
    let topic = binding.parse(NAME, &places, None, read, show);
    match (topic, listener.attributes.reply) {
        (otherwise, true) => Some(SendTo::Answer { otherwise }),
        (Some(topic), false) => Some(SendTo::Topic(topic)),
        (None, false) => None,
    }
}

/// What cannot be kept together.
pub(super) fn contradictions(binding: &mut Binding<'_>, listener: &Declared, settings: &ListenerSettings) {
    let Some(send_to) = settings.send_to.filter(|_| !binding.is_broken(&[NAME])) else { return };
    let id = listener.id;
    let said = listener.attributes.send_to.is_some() || listener.attributes.reply;
    let at = binding.origin_or(listener, NAME);
    if !said {
        let what = format!("of listener `{id}`, whose handler returns nothing to send");
        let help = "write `send_to = \"..\"` in its attribute and return the value; the file can then say where else to";
        binding.problems.error(Problem::new(at, NAME, what).help(help));
        return;
    }
    if let SendTo::Topic(topic) | SendTo::Answer { otherwise: Some(topic) } = send_to
        && reads(settings, topic)
    {
        let what = format!(
            "= {topic} of listener `{id}` is a topic that it reads: each record would lead to another"
        );
        binding.problems.error(Problem::new(at, NAME, what));
    }
}

fn reads(settings: &ListenerSettings, topic: TopicName) -> bool {
    match &settings.consumer.subscription {
        Subscription::Topics(topics) => topics.iter().any(|own| own == topic.as_str()),
        Subscription::Partitions(fixed) => fixed.iter().any(|(own, _)| own.topic == topic),
        Subscription::Pattern(_) => false,
    }
}
