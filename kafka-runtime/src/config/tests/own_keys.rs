//! The application's own keys.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::*;

#[derive(Debug, PartialEq, Deserialize)]
struct Pool {
    max_size: u32,
    #[serde(rename = "idleTimeout")]
    idle_timeout: Option<String>,
    mode: Mode,
    #[serde(default)]
    hosts: Vec<Host>,
    #[serde(default)]
    tags: BTreeMap<String, String>,
    ratio: f64,
    enabled: bool,
}

#[derive(Debug, PartialEq, Deserialize)]
struct Host {
    name: String,
    port: u16,
}

#[derive(Debug, PartialEq, Deserialize)]
enum Mode {
    FailFast,
    Patient,
}

const TEXT: &str = "
pool:
  max-size: 0x10
  idleTimeout: ${app.idle:5s}
  mode: fail_fast
  ratio: 0.5
  enabled: yes
  hosts:
    - {name: a, port: 1}
    - {name: b, port: 2}
  tags: {Team: x, '[a.b]': y}
";

#[test]
fn structs_lists_maps_and_enums() {
    let pool: Pool = config(TEXT).get_as("pool").unwrap().unwrap();
    assert_eq!(pool.max_size, 16);
    assert_eq!(pool.idle_timeout.as_deref(), Some("5s"));
    assert_eq!(pool.mode, Mode::FailFast);
    assert_eq!(pool.hosts, [Host { name: "a".into(), port: 1 }, Host { name: "b".into(), port: 2 }]);
    assert_eq!(pool.tags, BTreeMap::from([("Team".into(), "x".into()), ("a.b".into(), "y".into())]));
    assert!(pool.enabled && pool.ratio == 0.5);
}

#[test]
fn fields_come_from_the_environment_too() {
    let environment = [("POOL_MAXSIZE", "3"), ("POOL_IDLE_TIMEOUT", "9s"), ("POOL_MODE", "patient")];
    let pool: Pool = yaml(TEXT).environment(environment).build().unwrap().get_as("pool").unwrap().unwrap();
    assert_eq!((pool.max_size, pool.idle_timeout.as_deref(), pool.mode), (3, Some("9s"), Mode::Patient));
}

#[test]
fn what_is_missing_is_none_and_what_is_wrong_says_where() {
    let config = config("port: x\nlist: [1, two]\nnope: ${nix}\nnothing:\nhost: {name: a}\n");
    assert_eq!(config.get_as::<u16>("absent").unwrap(), None);
    assert_eq!(config.get_as::<Option<u16>>("nothing").unwrap(), Some(None));
    let wrong = config.get_as::<u16>("port").unwrap_err().to_string();
    assert_eq!(wrong, "configuration: application.yml:1:7: `port` is no number of the type u16");
    let wrong = config.get_as::<Vec<u8>>("list").unwrap_err().to_string();
    assert!(wrong.contains("application.yml:2:11: `list[1]`"), "{wrong}");
    let wrong = config.get_as::<String>("nope").unwrap_err().to_string();
    assert!(wrong.contains("application.yml:3:7") && wrong.contains("${nix}"), "{wrong}");
    let wrong = config.get_as::<Host>("host").unwrap_err().to_string();
    assert!(wrong.contains("missing field `port`"), "{wrong}");
    assert!(config.get_as::<u8>("port").is_err() && config.get("nope").is_err());
}

#[test]
fn dotted_names_are_the_keys_of_a_map_of_values() {
    let config = config("topic: {config: {retention.ms: 7d, cleanup.policy: compact}}\n");
    let map: BTreeMap<String, String> = config.get_as("topic.config").unwrap().unwrap();
    assert_eq!(map["retention.ms"], "7d");
    let nested: BTreeMap<String, BTreeMap<String, String>> = config.get_as("topic.config").unwrap().unwrap();
    assert_eq!(nested["cleanup"]["policy"], "compact");
}

#[test]
fn texts_and_overrides() {
    let mut config = config("a: {b: 1}\n");
    assert_eq!(config.resolve("x-${a.b}-${c:d}").unwrap(), "x-1-d");
    assert!(config.resolve("${c}").is_err());
    config.set("a.b", "2");
    config.set("spring.kafka.bootstrap-servers", "x:1");
    assert_eq!(get(&config, "a.b").as_deref(), Some("2"));
    assert_eq!(config.client().unwrap().bootstrap_servers, ["x:1"]);
    assert_eq!(config.get_as::<serde_json::Value>("a").unwrap().unwrap(), serde_json::json!({"b": "2"}));
}
