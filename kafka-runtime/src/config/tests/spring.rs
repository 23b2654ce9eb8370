//! How Spring Boot 3.5 binds: one test for each thing that it does, each seen by running it.

use super::*;

fn group(builder: ConfigBuilder) -> Option<String> {
    let listener = named("bill", Attributes { topics: &["orders"], ..Attributes::default() });
    let config = builder.build().unwrap();
    let settings = config.check(&[&listener]).unwrap().pop().unwrap();
    settings.consumer.group.map(|group| group.group_id)
}

// Names.

#[test]
fn in_a_file_case_hyphens_and_underscores_do_not_matter() {
    for key in ["groupId", "group_id", "GROUP-ID", "group-id", "groupid"] {
        let text = format!("spring: {{kafka: {{consumer: {{{key}: g}}}}}}");
        assert_eq!(group(yaml(&text)).as_deref(), Some("g"), "{key}");
    }
    assert_eq!(group(yaml("SPRING.Kafka.con_sumer.groupId: g")).as_deref(), Some("g"));
}

#[test]
fn dots_do_matter() {
    let mistake = mistake("spring.kafka.consumer.group.id: g", &[&bill()]);
    assert!(mistake.contains("did you mean `spring.kafka.consumer.group-id`?"), "{mistake}");
}

#[test]
fn the_environment_in_all_its_spellings() {
    for name in [
        "SPRING_KAFKA_CONSUMER_GROUPID",
        "SPRING_KAFKA_CONSUMER_GROUP_ID",
        "spring_kafka_consumer_group_id",
        "spring.kafka.consumer.group-id",
        "spring.kafka.consumer.groupId",
    ] {
        let text = "spring.kafka.consumer.group-id: from the file";
        assert_eq!(group(yaml(text).environment([(name, "g")])).as_deref(), Some("g"), "{name}");
    }
}

#[test]
fn of_both_variables_the_one_without_separators_wins() {
    let both = [("SPRING_KAFKA_CONSUMER_GROUP_ID", "legacy"), ("SPRING_KAFKA_CONSUMER_GROUPID", "uniform")];
    assert_eq!(group(yaml("").environment(both)).as_deref(), Some("uniform"));
}

fn servers(builder: ConfigBuilder) -> Vec<String> {
    builder.build().unwrap().client().unwrap().bootstrap_servers
}

#[test]
fn indexed_variables_replace_the_list_and_a_gap_ends_it() {
    let text = "spring.kafka.bootstrap-servers: [a:1, b:2, c:3]";
    let indexed = [("SPRING_KAFKA_BOOTSTRAPSERVERS_0", "x:1"), ("SPRING_KAFKA_BOOTSTRAPSERVERS_2", "z:1")];
    assert_eq!(servers(yaml(text).environment(indexed)), ["x:1"]);
    let legacy = [("SPRING_KAFKA_BOOTSTRAP_SERVERS_0", "x:1"), ("SPRING_KAFKA_BOOTSTRAP_SERVERS_1", "y:1")];
    assert_eq!(servers(yaml(text).environment(legacy)), ["x:1", "y:1"]);
}

#[test]
fn a_comma_value_beats_the_indexed_ones() {
    let both = [("SPRING_KAFKA_BOOTSTRAPSERVERS_0", "x:1"), ("SPRING_KAFKA_BOOTSTRAP_SERVERS", "y:1, z:1")];
    assert_eq!(servers(yaml("").environment(both)), ["y:1", "z:1"]);
}

// Precedence.

#[test]
fn arguments_beat_json_beats_the_environment_beats_files() {
    let text = "spring.kafka.consumer.group-id: file";
    let variable = ("SPRING_KAFKA_CONSUMER_GROUP_ID", "environment");
    let json = ("SPRING_APPLICATION_JSON", r#"{"spring": {"kafka": {"consumer": {"group-id": "json"}}}}"#);
    let argument = ["serve", "--spring.kafka.consumer.group-id=argument"];
    assert_eq!(group(yaml(text)).as_deref(), Some("file"));
    assert_eq!(group(yaml(text).environment([variable])).as_deref(), Some("environment"));
    assert_eq!(group(yaml(text).environment([variable, json])).as_deref(), Some("json"));
    let all = || yaml(text).environment([variable, json]).arguments(argument);
    assert_eq!(group(all()).as_deref(), Some("argument"));
    assert_eq!(group(all().set("spring.kafka.consumer.groupId", "code")).as_deref(), Some("code"));
}

#[test]
fn json_may_come_as_an_argument_too() {
    let argument = [r#"--spring.application.json={"a": {"b": [1, "x"], "c": null}}"#];
    let config = Config::builder().arguments(argument).build().unwrap();
    assert_eq!(get(&config, "a.b[1]").as_deref(), Some("x"));
    assert_eq!(get(&config, "a.c").as_deref(), Some(""));
}

#[test]
fn an_argument_given_twice_has_both_values() {
    let config =
        Config::builder().arguments(["--x.y=1", "--x.y=2", "--flag", "free", "-Dsingle=1"]).build().unwrap();
    assert_eq!(get(&config, "x.y").as_deref(), Some("1,2"));
    assert_eq!(get(&config, "flag").as_deref(), Some(""));
    assert_eq!(get(&config, "single"), None);
}

#[test]
fn the_last_active_document_wins() {
    let config = config("v: 1\n---\nv: 2\n---\nspring.config.activate.on-profile: other\nv: 3\n");
    assert_eq!(get(&config, "v").as_deref(), Some("2"));
}

#[test]
fn lists_are_replaced_whole_and_maps_merge() {
    let text = "l: [1, 2, 3]\nm: {a: 1, b: 1}\n---\nl: [9]\nm: {b: 2}\n";
    let config = config(text);
    assert_eq!(config.get_as::<Vec<u8>>("l").unwrap(), Some(vec![9]));
    let map: std::collections::BTreeMap<String, u8> = config.get_as("m").unwrap().unwrap();
    assert_eq!(map, [("a".to_owned(), 1), ("b".to_owned(), 2)].into());
}

/// The properties that Spring made of this file, key by key.
#[test]
fn consumer_and_producer_override_the_common_keys_one_by_one() {
    let text = "
spring.kafka:
  bootstrap-servers: common:1
  client-id: base
  properties: {bootstrap.servers: 'cp:1', max.poll.records: 1, fetch.min.bytes: 1, client.id: cprops, linger.ms: 3}
  consumer:
    max-poll-records: 2
    fetch-min-size: 2KB
    properties: {fetch.min.bytes: 3, isolation.level: read_committed}
  producer: {acks: all, properties: {acks: '1'}}
";
    let listener = settings(text, &bill());
    assert_eq!(listener.client.bootstrap_servers, ["cp:1"]);
    assert_eq!(listener.client.client_id, "cprops-0");
    assert_eq!(listener.max_poll_records, 2);
    assert_eq!(listener.consumer.fetch.min_bytes, 3);
    assert_eq!(listener.consumer.isolation, kafka_client::config::IsolationLevel::ReadCommitted);
    let template = config(text).template().unwrap();
    assert_eq!(template.producer.acks, kafka_client::config::Acks::Leader);
    assert_eq!(template.producer.linger.as_millis(), 3);
}

#[test]
fn comma_texts_are_trimmed_lists_and_the_empty_text_is_the_empty_list() {
    let config = config("l: ' a , b '\ne: ''\n");
    assert_eq!(config.get_as::<Vec<String>>("l").unwrap(), Some(vec!["a".to_owned(), "b".to_owned()]));
    assert_eq!(config.get_as::<Vec<String>>("e").unwrap(), Some(vec![]));
}

#[test]
fn ours_win_over_springs_key_by_key() {
    let text = "
spring.kafka: {bootstrap-servers: 'a:1', consumer: {group-id: spring, max-poll-records: 7}}
kafka-runtime: {consumer: {group-id: ours}, properties: {session.timeout.ms: 6000}}
";
    assert_eq!(group(yaml(text)).as_deref(), Some("ours"));
    let listener = settings(text, &bill());
    assert_eq!(listener.max_poll_records, 7);
    assert_eq!(listener.client.bootstrap_servers, ["a:1"]);
    assert_eq!(listener.consumer.group.unwrap().session_timeout.as_secs(), 6);
}

#[test]
fn a_variable_that_a_key_of_ours_shadows_is_named() {
    let config = yaml("kafka-runtime.bootstrap-servers: a:1")
        .environment([("SPRING_KAFKA_BOOTSTRAP_SERVERS", "b:1")])
        .build()
        .unwrap();
    assert_eq!(config.client().unwrap().bootstrap_servers, ["a:1"]);
    let notices = config.notices(&[]);
    assert!(notices[0].to_string().contains("kafka-runtime.bootstrap-servers"), "{notices:?}");
}

// Placeholders (more of them beside the code that resolves them).

#[test]
fn a_base_document_sees_the_value_of_a_profile() {
    let text = "app: {name: base}\nspring.kafka.consumer.group-id: ${app.name}-billing\n---\nspring.config.activate.on-profile: prod\napp: {name: prod}\n";
    assert_eq!(group(yaml(text)).as_deref(), Some("base-billing"));
    assert_eq!(group(yaml(text).profiles(["prod"])).as_deref(), Some("prod-billing"));
}

#[test]
fn an_unresolved_placeholder_is_an_error_with_its_place() {
    let mistake = mistake(
        "spring.kafka.consumer:\n  group-id: x-${nope}\n",
        &[&named("a", Attributes { topics: &["t"], ..Attributes::default() })],
    );
    assert_eq!(
        mistake,
        "application.yml:2:13: `spring.kafka.consumer.group-id` has the placeholder `${nope}`, which nothing resolves"
    );
}

#[test]
fn an_unresolved_placeholder_that_is_overridden_or_foreign_is_none() {
    let text = "spring: {kafka: {consumer: {group-id: '${nope}'}}, datasource: {url: '${DB}'}}\n---\nspring.kafka.consumer.group-id: g\n";
    assert_eq!(group(yaml(text)).as_deref(), Some("g"));
    assert!(config(text).get("spring.datasource.url").is_err());
}

// Profiles.

#[test]
fn profile_files_beat_the_file_and_come_in_the_order_of_their_profiles() {
    let builder = || {
        yaml("v: base\nw: base\nspring.profiles.active: one, two\n---\nw: last\n")
            .yaml("application-two.yml", "v: two")
            .yaml("application-one.yml", "v: one\nw: one")
            .yaml("application-three.yml", "v: three")
    };
    let config = builder().build().unwrap();
    assert_eq!(config.profiles(), ["one", "two"]);
    assert_eq!((get(&config, "v").as_deref(), get(&config, "w").as_deref()), (Some("two"), Some("one")));
    let config = builder().environment([("SPRING_PROFILES_ACTIVE", "three")]).build().unwrap();
    assert_eq!((get(&config, "v").as_deref(), get(&config, "w").as_deref()), (Some("three"), Some("last")));
}

/// The file that Spring was run with, and what it showed.
#[test]
fn expressions_groups_includes_and_the_order_of_documents() {
    let text = "
spring.profiles:
  group: {prod: [eu, us], us: [w]}
  active: '${P:prod}, x'
  include: inc, y
v: base
o: base
---
spring.config.activate.on-profile: prod & eu
v: prod
w: prod-eu
---
spring.config.activate.on-profile: [nope, '!zzz']
n: yes1
---
spring.config.activate.on-profile: a | (b & !c)
abc: no
---
v: last
---
spring.config.activate.on-profile: eu,nope
k: comma
";
    let config = yaml(text)
        .yaml("application-us.yml", "v2: file-us\no: us")
        .yaml("application-x.yml", "v2: file-x")
        .yaml("application-inc.yml", "v2: file-inc")
        .build()
        .unwrap();
    assert_eq!(config.profiles(), ["inc", "y", "prod", "eu", "us", "w", "x"]);
    for (key, expected) in [
        ("v", Some("last")),
        ("v2", Some("file-x")),
        ("w", Some("prod-eu")),
        ("n", Some("yes1")),
        ("abc", None),
        ("o", Some("us")),
        ("k", Some("comma")),
    ] {
        assert_eq!(get(&config, key).as_deref(), expected, "{key}");
    }
}

#[test]
fn without_an_active_profile_it_is_default() {
    let config = yaml("v: base").yaml("application-default.yml", "v: default").build().unwrap();
    assert_eq!(config.profiles(), ["default"]);
    assert_eq!(get(&config, "v").as_deref(), Some("default"));
}

#[test]
fn mistakes_with_profiles() {
    for (text, expected) in [
        (
            "a: 1\n---\nspring.config.activate.on-profile: a & b | c\n",
            "application.yml:3:36: `spring.config.activate.on-profile` is no profile expression",
        ),
        ("spring.profiles: x\n", "write `spring.config.activate.on-profile`"),
        ("spring.config.activate.on-profile: x\nspring.profiles.active: y\n", "depends on a profile itself"),
        ("spring.profiles.active: ${nope}\n", "${nope}"),
        ("spring.config.import: other.yml\n", "not supported"),
    ] {
        let mistake = mistake(text, &[]);
        assert!(mistake.contains(expected), "{mistake}");
    }
}

#[test]
fn files_on_disk_are_read_with_those_of_their_profiles() {
    let folder = std::env::temp_dir().join(format!("kafka-runtime-config-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("application.yml"), "v: base\nw: base\n").unwrap();
    std::fs::write(folder.join("application-prod.yaml"), "v: prod\n").unwrap();
    let config = Config::builder().file(folder.join("application.yml")).profiles(["prod"]).build().unwrap();
    let missing = Config::builder().file(folder.join("nothing.yml")).build().unwrap_err();
    std::fs::write(folder.join("application.yml"), [0xFF, 0xFE]).unwrap();
    let binary = Config::builder().file(folder.join("application.yml")).build().unwrap_err();
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!((get(&config, "v").as_deref(), get(&config, "w").as_deref()), (Some("prod"), Some("base")));
    assert!(missing.to_string().contains("nothing.yml: cannot be read"), "{missing}");
    assert!(binary.to_string().contains("is not UTF-8"), "{binary}");
}

// Values (more of them beside the code that reads them).

#[test]
fn yaml_11_values_bind_as_texts_too() {
    let config = config("m: {a: on, b: 'on', c: 010, d: 12:30, e: 1_000, f: 0x1F, g: 1.50, h: ~}");
    for (key, expected) in [
        ("a", "true"),
        ("b", "on"),
        ("c", "8"),
        ("d", "750"),
        ("e", "1000"),
        ("f", "31"),
        ("g", "1.5"),
        ("h", ""),
    ] {
        assert_eq!(get(&config, &format!("m.{key}")).as_deref(), Some(expected), "{key}");
    }
}

#[test]
fn in_map_keys_without_brackets_what_a_name_cannot_have_is_dropped() {
    let map: std::collections::BTreeMap<String, u8> =
        config("m: {a/b: 1, '[c/d]': 2, e_f: 3}").get_as("m").unwrap().unwrap();
    assert_eq!(map.into_keys().collect::<Vec<_>>(), ["ab", "c/d", "e_f"]);
}

#[test]
fn dotted_and_nested_properties_are_the_same() {
    for text in [
        "spring.kafka.properties: {session.timeout.ms: 6000}",
        "spring.kafka.properties: {session: {timeout.ms: 6000}}",
        "spring.kafka.properties: {'[session.timeout.ms]': 6000}",
        "spring.kafka.properties.session.timeout.ms: 6000",
    ] {
        assert_eq!(settings(text, &bill()).consumer.group.unwrap().session_timeout.as_secs(), 6, "{text}");
    }
    let config =
        yaml("").environment([("SPRING_KAFKA_PROPERTIES_SESSION_TIMEOUT_MS", "6000")]).build().unwrap();
    let listener = config.listener(&bill()).unwrap();
    assert_eq!(listener.consumer.group.unwrap().session_timeout.as_secs(), 6);
}

#[test]
fn lists_inside_properties_become_numbered_names_and_so_are_unknown() {
    let mistakes = mistakes("spring.kafka.properties: {interceptor.classes: [a, b]}", &[&bill()]);
    assert!(mistakes[0].contains("interceptor.classes.0"), "{mistakes:?}");
}

#[test]
fn a_bare_monitor_interval_is_seconds_and_other_bare_durations_are_milliseconds() {
    let text = "spring.kafka: {listener: {monitor-interval: 30}, consumer: {fetch-max-wait: 30}}";
    assert_eq!(settings(text, &bill()).consumer.fetch.max_wait.as_millis(), 30);
}

#[test]
fn enums_ignore_case_and_punctuation() {
    for word in ["read-committed", "READ_COMMITTED", "readCommitted"] {
        let text = format!("spring.kafka.consumer.isolation-level: {word}");
        let isolation = settings(&text, &bill()).consumer.isolation;
        assert_eq!(isolation, kafka_client::config::IsolationLevel::ReadCommitted, "{word}");
    }
}

#[test]
fn random_values() {
    let config = config("a: ${random.uuid}\nb: ${random.int(10)}\nc: ${random.int[5,6]}\n");
    assert_eq!(get(&config, "a").unwrap().len(), 36);
    assert!(get(&config, "b").unwrap().parse::<u8>().unwrap() < 10);
    assert_eq!(get(&config, "c").as_deref(), Some("5"));
}

#[test]
fn the_client_ids_of_spring() {
    let text = "spring.application.name: demo\n";
    assert_eq!(settings(text, &bill()).client.client_id, "consumer-billing-1");
    assert_eq!(config(text).template().unwrap().client.client_id, "demo-producer-1");
    assert_eq!(config(text).admin().unwrap().client.client_id, "demo-admin-0");
    assert_eq!(config("").template().unwrap().client.client_id, "producer-1");
    let text = "spring.kafka: {client-id: all, listener: {client-id: listening}}\n";
    assert_eq!(settings(text, &bill()).client.client_id, "listening-0");
    assert_eq!(config(text).template().unwrap().client.client_id, "all-1");
}
