//! What every client needs: how to reach the cluster, under which name.

use std::time::Duration;

use kafka_client::config::{Backoff, ClientConfig};

use super::super::origin::Origin;
use super::super::schema::Scope;
use super::super::value::{LONGEST, Notation, Value};
use super::{Binding, Client, Place, Said};

/// A client of no listener's, the template's or the admin's: what is said for all.
pub(crate) fn client(binding: &mut Binding<'_>) -> ClientConfig {
    binding.section("client");
    let client = Client { scope: Scope::Common, listener: None };
    let said = said_id(binding, &client.places("client.id")).map(|said| said.text);
    let client_id = said.or_else(|| super::application_name(binding));
    ClientConfig {
        client_id: client_id.unwrap_or_else(|| ClientConfig::default().client_id),
        ..common(binding, client)
    }
}

/// The settings that all clients share, as `client` sees them. Its id is what is said, or empty.
pub(crate) fn common(binding: &mut Binding<'_>, client: Client<'_>) -> ClientConfig {
    let defaults = ClientConfig::default();
    let mut time = |name: &'static str, default| binding.time(name, &client.places(name), default);
    let request_timeout = time("request.timeout.ms", defaults.request_timeout);
    let connect_timeout = time("socket.connection.setup.timeout.ms", defaults.connect_timeout);
    let reconnect_backoff = Backoff {
        initial: time("reconnect.backoff.ms", defaults.reconnect_backoff.initial),
        max: time("reconnect.backoff.max.ms", defaults.reconnect_backoff.max),
    };
    let retry_backoff = Backoff {
        initial: time("retry.backoff.ms", defaults.retry_backoff.initial),
        max: time("retry.backoff.max.ms", defaults.retry_backoff.max),
    };
    let rack = match client.scope {
        Scope::Consumer => binding.text("client.rack", &client.places("client.rack")),
        _ => None,
    };
    ClientConfig {
        bootstrap_servers: bootstrap_servers(binding, client, defaults.bootstrap_servers),
        client_id: String::new(),
        rack,
        request_timeout,
        connect_timeout,
        connections_max_idle: connections_max_idle(binding, client, defaults.connections_max_idle),
        reconnect_backoff: ordered(reconnect_backoff),
        retry_backoff: ordered(retry_backoff),
        metadata_max_age: binding.read(
            "metadata.max.age.ms",
            &client.places("metadata.max.age.ms"),
            defaults.metadata_max_age,
        ),
        max_response_size: defaults.max_response_size,
    }
}

/// Kafka: an initial wait above the longest one is the longest one.
fn ordered(backoff: Backoff) -> Backoff {
    Backoff { initial: backoff.initial.min(backoff.max), max: backoff.max }
}

/// -1 means never.
fn connections_max_idle(binding: &mut Binding<'_>, client: Client<'_>, default: Duration) -> Duration {
    let read = |text: &str, notation: Notation| match text.trim() {
        "-1" => Ok(LONGEST),
        text => Duration::read(text, notation),
    };
    let name = "connections.max.idle.ms";
    binding.parse(name, &client.places(name), default, read, Duration::show)
}

fn bootstrap_servers(binding: &mut Binding<'_>, client: Client<'_>, default: Vec<String>) -> Vec<String> {
    let name = "bootstrap.servers";
    let Some((elements, said)) = binding.first_list(&client.places(name)) else {
        binding.note(name, default.join(", "), Origin::Default, Vec::new());
        return default;
    };
    if said.broken {
        return default;
    }
    let mut servers = Vec::new();
    for element in elements {
        match address(&element) {
            Some(server) => servers.push(server),
            None => not_an_address(binding, &said, &element),
        }
    }
    let shown = if said.secret { said.shown() } else { servers.join(", ") };
    binding.note(name, shown, said.origin.clone(), said.through.clone());
    servers
}

fn not_an_address(binding: &mut Binding<'_>, said: &Said, element: &str) {
    let said = Said { text: element.to_owned(), ..said.clone() };
    let problem =
        said.problem("is no address of a broker").help("write `host:port`, `localhost:9092` for example");
    binding.problems.error(problem);
}

/// `host:port` of `text`: a protocol before it is dropped, as in Java.
fn address(text: &str) -> Option<String> {
    let text = text.split_once("://").map_or(text, |(_, rest)| rest);
    let (host, port) = text.rsplit_once(':')?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let six = bare.is_some() || host.contains(':');
    let plain = bare.unwrap_or(host);
    let allowed = |c: char| c.is_alphanumeric() || matches!(c, '-' | '%' | '.' | '_') || (six && c == ':');
    let port: u16 = port.parse().ok().filter(|port| *port > 0)?;
    let fits = !plain.is_empty() && plain.chars().all(allowed);
    fits.then(|| if six { format!("[{plain}]:{port}") } else { format!("{plain}:{port}") })
}

/// The client id that is said for this client, if any.
pub(super) fn said_id(binding: &mut Binding<'_>, places: &[Place]) -> Option<Said> {
    binding.first(places).filter(|said| !said.broken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_those_that_java_takes() {
        assert_eq!(address("localhost:9092").as_deref(), Some("localhost:9092"));
        assert_eq!(address("PLAINTEXT://kafka-1.example:9092").as_deref(), Some("kafka-1.example:9092"));
        assert_eq!(address("[::1]:9092").as_deref(), Some("[::1]:9092"));
        for bad in
            ["localhost", "localhost:", ":9092", "a:0", "a:70000", "u:p@localhost:1", "a b:1", "a:x", ""]
        {
            assert_eq!(address(bad), None, "{bad}");
        }
    }
}
