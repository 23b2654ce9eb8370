//! From an application that is put together to one at work: everything is checked before anything starts.

use std::any::TypeId;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kafka_client::Client;
use kafka_client::config::{ClientConfig, Subscription};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::info;

use super::crew::Crew;
use super::running::RunningApp;
use super::{App, registry};
use crate::config::ListenerSettings;
use crate::container::{Bound, CommitHook, ListenerState};
use crate::error::{Error, Result};
use crate::listener::{ListenerDescriptor, Preparation, States};
use crate::template::Template;

/// What a graceful stop may take where no listener says it.
const SHUTDOWN: Duration = Duration::from_secs(20);

/// A listener that is ready to start.
struct Ready {
    descriptor: &'static ListenerDescriptor,
    settings: ListenerSettings,
    bound: Binding,
}

/// When a handler has what it needs.
enum Binding {
    Now(Bound),
    #[cfg(feature = "rskafka")]
    Late(super::late::Late),
}

/// One client for each way to reach a cluster.
#[derive(Default)]
struct Clients(Vec<(ClientConfig, Client)>);

impl Clients {
    fn get(&mut self, config: &ClientConfig, what: &str) -> Result<Client> {
        if let Some((_, known)) = self.0.iter().find(|(known, _)| known == config) {
            return Ok(known.clone());
        }
        let client = Client::new(config.clone()).map_err(|source| error(what, source))?;
        self.0.push((config.clone(), client.clone()));
        Ok(client)
    }
}

fn error(what: &str, source: kafka_client::Error) -> Error {
    Error::Client { what: what.into(), source }
}

pub(super) async fn start(mut app: App) -> Result<RunningApp> {
    if let Some(broken) = app.broken.take() {
        return Err(broken.into());
    }
    let mut problems = Vec::new();
    let linked = registry::linked();
    let chosen = registry::chosen(&linked, app.only.as_deref(), &mut problems);
    let settings = app.config.check(&chosen)?;
    let mut clients = Clients::default();
    let template_settings = app.config.template();
    let client = clients.get(&template_settings.client, "template")?;
    let template = Template::new(client, &template_settings).map_err(|source| error("template", source))?;
    let mut states = std::mem::take(&mut app.states);
    states.entry(TypeId::of::<Template>()).or_insert_with(|| Arc::new(template.clone()));
    let ready = bind(&chosen, settings, &states, &template_settings.client, &mut problems);
    if problems.is_empty() {
        problems = missing_topics(&ready, &mut clients).await?;
    }
    if !problems.is_empty() {
        return Err(Error::Startup(problems));
    }
    let shutdown_timeout =
        ready.iter().map(|ready| ready.settings.shutdown_timeout).max().unwrap_or(SHUTDOWN);
    let mut running = RunningApp {
        config: app.config,
        states,
        template,
        boards: BTreeMap::new(),
        members: JoinSet::new(),
        stop: watch::Sender::new(None),
        shutdown_timeout,
        _clients: Vec::new(),
    };
    for one in ready {
        let client = clients.get(&one.settings.client, one.descriptor.id)?;
        begin(&mut running, one, client, app.on_commit.clone())?;
    }
    running._clients = clients.0.into_iter().map(|(_, client)| client).collect();
    Ok(running)
}

/// Binds each handler to what it needs; all that is missing goes to `problems`.
fn bind(
    chosen: &[&'static ListenerDescriptor],
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
            Binding::Late(late.clone())
        } else {
            bound
        };
        problems.append(&mut preparation.missing);
        if let Some(settings) = settings.remove(descriptor.id) {
            ready.push(Ready { descriptor, settings, bound });
        }
    }
    ready
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
        let admin = clients.get(&settings.client, descriptor.id)?.admin();
        let described = admin.describe_topics(&topics).await.map_err(|source| error(&what, source))?;
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

/// Starts the members of one listener.
fn begin(running: &mut RunningApp, ready: Ready, client: Client, hook: Option<CommitHook>) -> Result<()> {
    let Ready { descriptor, settings, bound } = ready;
    log(descriptor, &settings);
    if !settings.auto_startup {
        running.new_board(descriptor.id, ListenerState::NotStarted);
        return Ok(());
    }
    let board = running.new_board(descriptor.id, ListenerState::Running);
    let stop = running.stop.subscribe();
    let crew = Crew { descriptor, settings, client, board, hook, stop };
    match bound {
        Binding::Now(bound) => {
            for member in crew.members(bound).map_err(|source| error(descriptor.id, source))? {
                running.members.spawn(async move { (descriptor.id, member.run().await) });
            }
        }
        #[cfg(feature = "rskafka")]
        Binding::Late(late) => {
            running.members.spawn(late.run(crew, running.states.clone()));
        }
    }
    Ok(())
}

fn log(descriptor: &ListenerDescriptor, settings: &ListenerSettings) {
    let ListenerSettings { consumer, commit, cadence, ack, concurrency, members, auto_startup, .. } =
        settings;
    info!(
        listener = descriptor.id,
        reads = %Reads(&consumer.subscription),
        group = consumer.group.as_ref().map_or("none", |group| group.group_id.as_str()),
        members, concurrency, ?commit, every = ?cadence, ?ack, auto_startup,
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
