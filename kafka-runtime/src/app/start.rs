//! From an application that is put together to one at work: everything is checked before anything starts.

use std::any::TypeId;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kafka_client::config::{ClientConfig, Subscription};
use kafka_client::seams::Rng;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tracing::{info, warn};

use super::clients::Clients;
use super::crew::Crew;
use super::declare::declare;
use super::listeners::{Entry, Listeners};
use super::prepare::Binding;
use super::retries::with_retries;
use super::running::RunningApp;
use super::{App, registry};
use crate::config::{ListenerSettings, TemplateSettings};
use crate::container::{Board, Check, ListenerState, Publisher};
use crate::error::{Error, Result};
use crate::listener::{ListenerDescriptor, Preparation, States};
use crate::template::Template;

/// What a graceful stop may take where no listener says it.
const SHUTDOWN: Duration = Duration::from_secs(20);

/// A listener that is ready to start.
struct Ready {
    descriptor: ListenerDescriptor,
    settings: ListenerSettings,
    bound: Binding,
}

fn error(what: &str, source: kafka_client::Error) -> Error {
    Error::Client { what: what.into(), source }
}

pub(super) async fn start(mut app: App) -> Result<RunningApp> {
    let mut problems = Vec::new();
    let linked = registry::linked();
    let chosen = registry::chosen(&linked, app.only.as_deref(), &mut problems);
    let settings = app.config.check_only(&linked, &chosen)?;
    let listeners = chosen.into_iter().copied().zip(settings).flat_map(with_retries);
    let (chosen, settings): (Vec<_>, Vec<_>) = listeners.unzip();
    let of_template = app.config.template()?;
    let rng =
        app.seams.as_ref().map_or_else(|| Arc::new(Rng::from_entropy()), |seams| Arc::clone(&seams.rng));
    let mut clients = Clients::new(app.seams.take());
    let admin = app.config.admin()?;
    let declared = app.config.topics()?;
    let client = clients.get(&of_template.client).map_err(|source| error("template", source))?;
    let administration = clients.get(&admin.client).map_err(|source| error("admin", source))?;
    let publisher = Publisher::new(client.clone(), &of_template, administration.admin(), &admin);
    let publisher = Arc::new(publisher);
    let interceptors = std::mem::take(&mut app.interceptors);
    let template =
        Template::new(client, &of_template, interceptors).map_err(|source| error("template", source))?;
    let mut states = std::mem::take(&mut app.states);
    states.entry(TypeId::of::<Template>()).or_insert_with(|| Arc::new(template.clone()));
    let listeners = Listeners::new();
    states.entry(TypeId::of::<Listeners>()).or_insert_with(|| Arc::new(listeners.clone()));
    let ready = bind(&chosen, settings, &states, &of_template.client, &mut problems);
    problems.extend(ready.iter().filter_map(|ready| missing_check(ready, &app.checks)));
    problems.extend(transactions(&ready, &of_template));
    if problems.is_empty() && !declared.is_empty() {
        declare(&administration, &admin, &declared).await?;
    }
    if problems.is_empty() {
        problems = missing_topics(&ready, &mut clients).await?;
    }
    if !problems.is_empty() {
        return Err(Error::Startup(problems));
    }
    let shutdown_timeout =
        ready.iter().map(|ready| ready.settings.shutdown_timeout).max().unwrap_or(SHUTDOWN);
    let (failing, failures) = mpsc::unbounded_channel();
    if let Some(hook) = app.on_event {
        let mut events = listeners.events();
        tokio::spawn(async move {
            while let Some(event) = events.next().await {
                let called = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| hook(&event)));
                if called.is_err() {
                    warn!(?event, "the callback for events panicked; events go on");
                }
            }
        });
    }
    let stop = watch::Sender::new(None);
    let (mut crews, mut entries) = (JoinSet::new(), BTreeMap::new());
    for Ready { descriptor, settings, bound } in ready {
        log(&descriptor, &settings);
        let state = if settings.auto_startup { ListenerState::Running } else { ListenerState::NotStarted };
        let board = Arc::new(Board::new(descriptor.id, state));
        let (demands, inbox) = mpsc::unbounded_channel();
        let clients = clients.of(&settings).map_err(|source| error(descriptor.id, source))?;
        let retries_of = settings.hop.as_deref().and_then(|suffix| descriptor.id.strip_suffix(suffix));
        entries.insert(descriptor.id, Entry { board: Arc::clone(&board), demands, retries_of });
        let check = settings.pause_when.as_ref().and_then(|pause| app.checks.get(&pause.check).cloned());
        let crew = Crew {
            check,
            descriptor,
            settings,
            board,
            hook: app.on_commit.clone(),
            events: listeners.emitter(),
            stop: stop.subscribe(),
            demands: inbox,
            failures: failing.clone(),
            publisher: Arc::clone(&publisher),
            template: template.clone(),
            clients,
            binding: Some(bound),
            work: None,
            rng: Arc::clone(&rng),
        };
        crews.spawn(crew.run());
    }
    listeners.set(entries);
    Ok(RunningApp {
        config: app.config,
        states,
        template,
        listeners,
        crews,
        failures,
        stop,
        shutdown_timeout,
    })
}

/// Binds each handler to what it needs; all that is missing goes to `problems`.
fn bind(
    chosen: &[ListenerDescriptor],
    settings: Vec<ListenerSettings>,
    states: &States,
    client: &ClientConfig,
    problems: &mut Vec<String>,
) -> Vec<Ready> {
    let mut settings: BTreeMap<String, ListenerSettings> =
        settings.into_iter().map(|settings| (settings.id.clone(), settings)).collect();
    #[cfg(feature = "rskafka")]
    let late = super::late::Late::new(client);
    #[cfg(not(feature = "rskafka"))]
    let _ = client;
    let mut ready = Vec::with_capacity(chosen.len());
    for descriptor in chosen {
        let mut preparation = Preparation::new(states);
        let bound = Binding::Now((descriptor.bind)(&mut preparation));
        #[cfg(feature = "rskafka")]
        let bound = if late.supplies(&preparation.missing) {
            preparation.missing.clear();
            Binding::Late(Box::new((late.clone(), states.clone())))
        } else {
            bound
        };
        problems.append(&mut preparation.missing);
        if let Some(settings) = settings.remove(descriptor.id) {
            ready.push(Ready { descriptor: *descriptor, settings, bound });
        }
    }
    ready
}

/// A listener that pauses for a check which the application does not have.
fn missing_check(ready: &Ready, checks: &BTreeMap<String, Check>) -> Option<String> {
    let check = &ready.settings.pause_when.as_ref().filter(|pause| !checks.contains_key(&pause.check))?.check;
    let ListenerDescriptor { id, location, .. } = ready.descriptor;
    let known: Vec<&str> = checks.keys().map(String::as_str).collect();
    let known = if known.is_empty() { "it has none".into() } else { format!("it has {}", known.join(", ")) };
    Some(format!(
        "listener `{id}` ({location}): it pauses when `{check}` is down, and the application has no check of this \
         name ({known}): give it one with `.downstream(\"{check}\", ..)`"
    ))
}

/// Transactions need a producer that loses nothing.
fn transactions(ready: &[Ready], template: &TemplateSettings) -> Option<String> {
    let listener = ready.iter().find(|ready| ready.settings.transactional)?.descriptor;
    (!template.producer.idempotence).then(|| {
        let ListenerDescriptor { id, location, .. } = listener;
        format!(
            "listener `{id}` ({location}) is transactional, and the producer is not idempotent: transactions need \
             `acks: all`, retries and idempotence under `spring.kafka.producer`"
        )
    })
}

/// `missing-topics-fatal`: asks for the topics of the listeners that have it.
async fn missing_topics(ready: &[Ready], clients: &mut Clients) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    for Ready { descriptor, settings, .. } in ready.iter().filter(|ready| ready.settings.missing_topics_fatal)
    {
        let topics: Vec<&str> = match &settings.consumer.subscription {
            Subscription::Topics(topics) => topics.iter().map(String::as_str).collect(),
            Subscription::Partitions(fixed) => fixed.iter().map(|(at, _)| at.topic.as_str()).collect(),
            Subscription::Pattern(_) => continue,
        };
        let what = format!("listener {}: missing-topics-fatal asks for its topics", descriptor.id);
        let client = clients.get(&settings.client).map_err(|source| error(&what, source))?;
        let described =
            client.admin().describe_topics(&topics).await.map_err(|source| error(&what, source))?;
        for topic in topics {
            let found = described.get(&kafka_client::TopicName::new(topic));
            if let Some(cause) =
                found.map_or(Some("unknown".to_owned()), |found| Some(found.error?.to_string()))
            {
                let ListenerDescriptor { id, location, .. } = descriptor;
                problems.push(format!(
                    "listener `{id}` ({location}): topic {topic}: {cause} (missing-topics-fatal)"
                ));
            }
        }
    }
    Ok(problems)
}

fn log(descriptor: &ListenerDescriptor, settings: &ListenerSettings) {
    let ListenerSettings {
        consumer, ordering, commit, cadence, ack, concurrency, members, auto_startup, ..
    } = settings;
    info!(
        listener = descriptor.id,
        reads = %Reads(&consumer.subscription),
        group = consumer.group.as_ref().map_or("none", |group| group.group_id.as_str()),
        members, ?ordering, concurrency, ?commit, every = ?cadence, ?ack, auto_startup,
        function = descriptor.function,
        at = %descriptor.location,
        "listener"
    );
}

/// A subscription in a line.
struct Reads<'a>(&'a Subscription);

impl std::fmt::Display for Reads<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Subscription::Topics(topics) => f.write_str(&topics.join(", ")),
            Subscription::Pattern(pattern) => write!(f, "topics like {pattern}"),
            Subscription::Partitions(fixed) => {
                let names: Vec<String> = fixed.iter().map(|(partition, _)| partition.to_string()).collect();
                f.write_str(&names.join(", "))
            }
        }
    }
}
