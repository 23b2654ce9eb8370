use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::metadata_response::MetadataResponseBroker;
use kafka_protocol::messages::{
    ApiKey, ApiVersionsResponse, BrokerId, FindCoordinatorRequest, FindCoordinatorResponse, HeartbeatRequest,
    HeartbeatResponse, MetadataRequest, MetadataResponse, ProduceRequest,
};
use kafka_protocol::protocol::StrBytes;
use tokio::io::AsyncReadExt;
use tokio::time::Instant;

use super::fake::{Asked, Fake, Reply, config, negotiating, versions};
use super::*;
use crate::cluster::Cluster;
use crate::config::ClientConfig;
use crate::error::Error;
use crate::seams::{Seams, Tcp, Transport};

mod missed;

const SECOND: Duration = Duration::from_secs(1);

fn pool(fake: &Arc<Fake>) -> Pool {
    Pool::new(Cluster::new(config(&["boot:9092"]), fake.seams()), StrBytes::from_static_str("test"))
}

/// Answers a heartbeat with the generation it named, as throttle time or error code.
fn beat(asked: &Asked) -> Reply {
    let request: HeartbeatRequest = asked.read();
    let code = i16::try_from(request.generation_id).unwrap();
    asked.answer(&HeartbeatResponse::default().with_error_code(code))
}

async fn heartbeat(connection: &Connection, generation: i32, deadline: Duration) -> Result<i16, Error> {
    let build = |_| HeartbeatRequest::default().with_generation_id(generation);
    connection.call::<HeartbeatRequest>(deadline, build).await.map(|answer| answer.body.error_code)
}

#[tokio::test(start_paused = true)]
async fn calls_are_pipelined_and_find_their_answers() {
    let fake = negotiating(|asked| Reply::After(SECOND, Box::new(beat(asked))));
    let connection = pool(&fake).any(Purpose::Commit).await.unwrap();
    let begun = Instant::now();
    let calls: Vec<_> = (1..=3)
        .map(|generation| {
            let connection = Arc::clone(&connection);
            tokio::spawn(async move { heartbeat(&connection, generation, 10 * SECOND).await })
        })
        .collect();
    for (call, expected) in calls.into_iter().zip(1..) {
        assert_eq!(call.await.unwrap().unwrap(), expected);
    }
    assert_eq!(begun.elapsed(), 3 * SECOND, "the fake broker handles one at a time");
    assert_eq!(fake.connections(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_call_leaves_the_connection_usable() {
    let fake = negotiating(|asked| Reply::After(SECOND, Box::new(beat(asked))));
    let connection = pool(&fake).any(Purpose::Commit).await.unwrap();
    let dropped = tokio::time::timeout(SECOND / 10, heartbeat(&connection, 1, 10 * SECOND)).await;
    assert!(dropped.is_err());
    assert_eq!(heartbeat(&connection, 2, 10 * SECOND).await.unwrap(), 2);
    assert!(!connection.is_closed());
}

#[tokio::test(start_paused = true)]
async fn only_the_oldest_call_that_times_out_ends_the_connection() {
    let fake = negotiating(|asked| match asked.read::<HeartbeatRequest>().generation_id {
        1 => Reply::After(10 * SECOND, Box::new(beat(asked))),
        _ => Reply::Silence,
    });
    let pool = pool(&fake);
    let connection = pool.any(Purpose::Commit).await.unwrap();
    let patient = {
        let connection = Arc::clone(&connection);
        tokio::spawn(async move { heartbeat(&connection, 1, 60 * SECOND).await })
    };
    tokio::task::yield_now().await;
    // Behind a call that may take long: late, but no sign of a broken connection.
    let late = heartbeat(&connection, 2, SECOND).await;
    assert!(matches!(late, Err(Error::Timeout { api: "Heartbeat", .. })), "{late:?}");
    assert!(!connection.is_closed());
    assert_eq!(patient.await.unwrap().unwrap(), 1);
    // Now the unanswered ones are the oldest.
    let dead = heartbeat(&connection, 3, SECOND).await;
    assert!(matches!(dead, Err(Error::Timeout { .. })), "{dead:?}");
    assert!(connection.is_closed());
    assert!(matches!(heartbeat(&connection, 4, SECOND).await, Err(Error::Disconnected { .. })));
    pool.any(Purpose::Commit).await.unwrap();
    assert_eq!(fake.connections(), 2);
}

/// Whoever asked has gone: its time counts all the same, or the next one would wait for its own.
#[tokio::test(start_paused = true)]
async fn a_call_that_nobody_waits_for_ends_a_connection_that_is_silent() {
    let fake = negotiating(|asked| match asked.read::<HeartbeatRequest>().generation_id {
        1 => Reply::After(3 * SECOND, Box::new(beat(asked))),
        _ => Reply::Silence,
    });
    let pool = pool(&fake);
    let connection = pool.any(Purpose::Group).await.unwrap();
    for (generation, time) in [(1, 10 * SECOND), (2, 5 * SECOND)] {
        let dropped = tokio::time::timeout(SECOND, heartbeat(&connection, generation, time)).await;
        assert!(dropped.is_err());
    }
    let begun = Instant::now();
    let next = heartbeat(&connection, 3, 60 * SECOND).await;
    assert!(matches!(next, Err(Error::Disconnected { .. })), "{next:?}");
    // The first was answered; the second had been waited for for a second.
    assert_eq!(begun.elapsed(), 4 * SECOND);
}

/// Others of the same purpose wait for the same attempt.
#[tokio::test(start_paused = true)]
async fn a_coordinator_that_accepts_and_says_nothing_is_given_up_in_time() {
    let fake = Fake::new(|_| Reply::Silence);
    for (purpose, time) in [
        (Purpose::Group, COORDINATION_DEADLINE),
        (Purpose::Commit, COORDINATION_DEADLINE),
        (Purpose::CommitAside(1), COORDINATION_DEADLINE),
        (Purpose::Produce, 10 * SECOND),
    ] {
        let begun = Instant::now();
        let address = Address::parse("host-1:9092").unwrap();
        let name = StrBytes::from_static_str("test");
        let config = ClientConfig { request_timeout: 30 * SECOND, ..config(&[]) };
        let opened = handshake::open(&address, purpose, name, &config, &fake.seams()).await;
        assert!(matches!(opened, Err(Error::Timeout { api: "ApiVersions", .. })), "{purpose:?}");
        assert_eq!(begun.elapsed(), time, "{purpose:?}");
    }
}

/// What a system has not sent yet of a connection that was given up must not be sent when the network is back.
#[tokio::test]
async fn a_connection_that_is_given_up_is_reset() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    for (gives_up, deadline) in [(true, SECOND / 10), (false, 10 * SECOND)] {
        let stream = Tcp.connect("127.0.0.1", port).await.unwrap();
        let (mut peer, _) = listener.accept().await.unwrap();
        let address = Address::parse(&format!("127.0.0.1:{port}")).unwrap();
        let (name, seams) = (StrBytes::from_static_str("test"), Seams::default());
        let connection = Connection::start(stream, &address, Purpose::Commit, name, &config(&[]), &seams);
        let call =
            connection.exchange::<HeartbeatRequest>(4, deadline, &HeartbeatRequest::default()).unwrap();
        let outcome = tokio::time::timeout(SECOND, call).await;
        assert_eq!(outcome.is_ok(), gives_up, "{outcome:?}");
        drop(connection);
        let mut bytes = Vec::new();
        let end = peer.read_to_end(&mut bytes).await;
        assert_eq!(end.err().map(|error| error.kind()), gives_up.then_some(ErrorKind::ConnectionReset));
    }
}

#[tokio::test(start_paused = true)]
async fn a_throttled_broker_gets_more_time() {
    let first = AtomicBool::new(true);
    let fake = negotiating(move |asked| match first.swap(false, Ordering::SeqCst) {
        true => asked.answer(&HeartbeatResponse::default().with_throttle_time_ms(20_000)),
        false => Reply::After(18 * SECOND, Box::new(beat(asked))),
    });
    let connection = pool(&fake).any(Purpose::Commit).await.unwrap();
    heartbeat(&connection, 1, SECOND).await.unwrap();
    assert_eq!(heartbeat(&connection, 7, SECOND).await.unwrap(), 7);
}

#[tokio::test(start_paused = true)]
async fn the_peers_end_fails_all_calls_that_wait() {
    let fake = negotiating(|asked| match asked.read::<HeartbeatRequest>().generation_id {
        2 => Reply::Close,
        _ => Reply::After(SECOND, Box::new(Reply::Silence)),
    });
    let connection = pool(&fake).any(Purpose::Commit).await.unwrap();
    let (one, two) =
        tokio::join!(heartbeat(&connection, 1, 30 * SECOND), heartbeat(&connection, 2, 30 * SECOND));
    for outcome in [one, two] {
        assert!(
            matches!(&outcome, Err(Error::Disconnected { broker, .. }) if broker == "boot:9092"),
            "{outcome:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_nobody_asked_for_ends_the_connection() {
    let fake = negotiating(|_| Reply::Raw(&[0, 0, 0, 5, 0, 0, 0, 99, 0]));
    let connection = pool(&fake).any(Purpose::Commit).await.unwrap();
    let outcome = heartbeat(&connection, 1, SECOND).await;
    assert!(matches!(&outcome, Err(Error::Malformed { reason, .. }) if reason.contains("99")), "{outcome:?}");
}

#[tokio::test(start_paused = true)]
async fn old_brokers_are_asked_again_in_version_0() {
    // Kafka 2.3 answers error 35 in the layout of version 0, with an empty list.
    let fake = Fake::new(|asked| match asked.version {
        0 => versions(asked),
        _ => Reply::Body(0, Bytes::from_static(&[0, 35, 0, 0, 0, 0])),
    });
    let connection = pool(&fake).any(Purpose::Commit).await.unwrap();
    assert_eq!(connection.version::<HeartbeatRequest>().unwrap(), 4);
}

#[tokio::test(start_paused = true)]
async fn versions_are_what_both_sides_speak() {
    let fake = Fake::new(|asked| {
        let api = |key: i16, min, max| {
            kafka_protocol::messages::api_versions_response::ApiVersion::default()
                .with_api_key(key)
                .with_min_version(min)
                .with_max_version(max)
        };
        let keys = vec![api(12, 1, 2), api(0, 0, 99), api(18, 0, 4), api(10, 90, 99)];
        asked.answer(&ApiVersionsResponse::default().with_api_keys(keys))
    });
    let connection = pool(&fake).any(Purpose::Commit).await.unwrap();
    assert_eq!(connection.version::<HeartbeatRequest>().unwrap(), 2);
    assert_eq!(connection.version::<ProduceRequest>().unwrap(), 12);
    for missing in [connection.version::<MetadataRequest>(), connection.version::<FindCoordinatorRequest>()] {
        assert!(matches!(missing, Err(Error::Unsupported { .. })), "{missing:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_no_broker_is_named() {
    for (bytes, word) in [
        (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], "web server"),
        (&[0, 0, 0, 6, 1, 2, 3, 4, 5, 6], "correlation id"),
        (&[0x15, 3, 3, 0, 2, 2, 40], "encrypted"),
    ] {
        let fake = Fake::new(move |_| Reply::Raw(bytes));
        let outcome = pool(&fake).any(Purpose::Control).await;
        assert!(
            matches!(&outcome, Err(Error::NotKafka { reason, .. }) if reason.contains(word)),
            "{outcome:?}"
        );
    }
    let fake = Fake::new(|_| Reply::Close);
    let outcome = pool(&fake).any(Purpose::Control).await.unwrap_err().to_string();
    assert!(outcome.contains("TLS or SASL") && outcome.contains("boot:9092"), "{outcome}");
}

#[tokio::test(start_paused = true)]
async fn those_who_ask_together_share_one_attempt() {
    let fake = Fake::new(|asked| Reply::After(SECOND, Box::new(versions(asked))));
    let pool = pool(&fake);
    let (one, two, three) = tokio::join!(
        pool.any(Purpose::Commit),
        pool.any(Purpose::Commit),
        tokio::time::timeout(SECOND / 2, pool.any(Purpose::Commit)),
    );
    assert!(three.is_err());
    assert!(Arc::ptr_eq(&one.unwrap(), &two.unwrap()));
    assert_eq!(fake.connections(), 1);
    pool.any(Purpose::Join).await.unwrap();
    assert_eq!(fake.connections(), 2, "purposes do not share");
}

#[tokio::test(start_paused = true)]
async fn attempts_keep_their_distance() {
    let fake = negotiating(beat);
    fake.take_down(&["boot:9092"]);
    let pool = pool(&fake);
    let begun = Instant::now();
    for _ in 0..20 {
        let outcome = pool.any(Purpose::Commit).await;
        assert!(
            matches!(&outcome, Err(Error::Unreachable { servers, .. }) if servers == "boot:9092"),
            "{outcome:?}"
        );
    }
    assert!(begun.elapsed() > 10 * SECOND, "{:?}", begun.elapsed());
    fake.take_down(&[]);
    pool.any(Purpose::Commit).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_can_go_elsewhere_does_not_wait_for_the_next_attempt() {
    let fake = negotiating(|asked| brokers(asked, &[(1, "one"), (2, "boot")]));
    let pool = pool(&fake);
    fake.take_down(&["one:9092"]);
    pool.cluster().refreshed().await.unwrap();
    let (begun, before) = (Instant::now(), fake.connections());
    // As often as members ask: attempts keep their distance all the same.
    for _ in 0..100 {
        let asked = Instant::now();
        let failed = pool.broker_at_once(1, Purpose::Commit).await;
        assert!(matches!(&failed, Err(Error::Refused { .. })), "{failed:?}");
        assert!(asked.elapsed() < SECOND / 50, "{:?}", asked.elapsed());
        tokio::time::sleep(SECOND / 10).await;
    }
    let attempts = fake.connections() - before;
    assert!((8..=20).contains(&attempts), "{attempts} attempts in {:?}", begun.elapsed());
    fake.take_down(&[]);
    tokio::time::sleep(2 * SECOND).await;
    pool.broker_at_once(1, Purpose::Commit).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn idle_connections_end_and_are_made_anew() {
    let fake = negotiating(beat);
    let pool = pool(&fake);
    let connection = pool.any(Purpose::Commit).await.unwrap();
    tokio::time::sleep(300 * SECOND).await;
    heartbeat(&connection, 1, SECOND).await.unwrap();
    tokio::time::sleep(300 * SECOND).await;
    assert!(!connection.is_closed());
    tokio::time::sleep(300 * SECOND).await;
    assert!(connection.is_closed());
    pool.any(Purpose::Commit).await.unwrap();
    assert_eq!(fake.connections(), 2);
}

fn brokers(asked: &Asked, brokers: &[(i32, &str)]) -> Reply {
    let broker = |(id, host): &(i32, &str)| {
        MetadataResponseBroker::default()
            .with_node_id(BrokerId(*id))
            .with_host(StrBytes::from_string((*host).to_owned()))
            .with_port(9092)
    };
    asked.answer(&MetadataResponse::default().with_brokers(brokers.iter().map(broker).collect()))
}

#[tokio::test(start_paused = true)]
async fn when_no_known_broker_answers_the_bootstrap_list_does() {
    let fake = negotiating(|asked| match asked.api_key {
        3 => brokers(asked, &[(1, "one"), (2, "two")]),
        _ => asked.answer(&FindCoordinatorResponse::default()),
    });
    let pool = pool(&fake);
    pool.cluster().refreshed().await.unwrap();
    let peer = pool.any(Purpose::Control).await.unwrap().peer().to_owned();
    assert!(peer.starts_with("one") || peer.starts_with("two"), "{peer}");
    fake.take_down(&["one:9092", "two:9092"]);
    assert_eq!(pool.any(Purpose::Join).await.unwrap().peer(), "boot:9092");
    let unknown = pool.broker(7, Purpose::Join).await;
    assert!(
        matches!(&unknown, Err(Error::Disconnected { broker, .. }) if broker == "broker 7"),
        "{unknown:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_moved_is_found_at_its_new_address() {
    let place = Arc::new(Mutex::new("old"));
    let script = Arc::clone(&place);
    let fake = negotiating(move |asked| match asked.api_key {
        3 => brokers(asked, &[(1, *script.lock().unwrap())]),
        _ => beat(asked),
    });
    let pool = pool(&fake);
    pool.cluster().refreshed().await.unwrap();
    assert_eq!(pool.broker(1, Purpose::Fetch).await.unwrap().peer(), "old:9092");
    *place.lock().unwrap() = "new";
    pool.cluster().refreshed().await.unwrap();
    assert_eq!(pool.broker(1, Purpose::Fetch).await.unwrap().peer(), "new:9092");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_never_answered_does_not_wait() {
    let produced = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&produced);
    let fake = negotiating(move |asked| match asked.is::<ProduceRequest>() {
        true => {
            counter.fetch_add(1, Ordering::SeqCst);
            Reply::Silence
        }
        false => beat(asked),
    });
    let connection = pool(&fake).any(Purpose::Produce).await.unwrap();
    connection.begin_send(9, &ProduceRequest::default()).unwrap().await.unwrap();
    assert_eq!(heartbeat(&connection, 3, SECOND).await.unwrap(), 3);
    assert_eq!(produced.load(Ordering::SeqCst), 1);
    assert_eq!(fake.count(ApiKey::Produce), 1);
}

#[tokio::test(start_paused = true)]
async fn the_last_handle_ends_the_connection() {
    let fake = negotiating(beat);
    let pool = pool(&fake);
    let connection = pool.any(Purpose::Commit).await.unwrap();
    let ended = Arc::downgrade(&connection);
    drop(pool);
    heartbeat(&connection, 1, SECOND).await.unwrap();
    drop(connection);
    tokio::time::sleep(SECOND).await;
    assert!(ended.upgrade().is_none());
}

#[tokio::test(start_paused = true)]
async fn garbage_is_an_error_and_never_a_panic() {
    let rng = crate::seams::Rng::seeded(5);
    for _ in 0..300 {
        let noise: Vec<u8> = (0..rng.below(60)).map(|_| u8::try_from(rng.below(256)).unwrap()).collect();
        let noise: &'static [u8] = noise.leak();
        // Behind a right header, and instead of everything.
        let behind = negotiating(move |_| Reply::Body(1, Bytes::from_static(noise)));
        let connection = pool(&behind).any(Purpose::Commit).await.unwrap();
        let outcome = heartbeat(&connection, 1, SECOND).await;
        assert!(matches!(outcome, Ok(_) | Err(Error::Malformed { .. })), "{noise:x?}: {outcome:?}");
        let instead = Fake::new(move |_| Reply::Raw(noise));
        assert!(pool(&instead).any(Purpose::Commit).await.is_err(), "{noise:x?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_keeps_silent_does_not_hold_up_what_any_other_can_tell() {
    let silent = Arc::new(AtomicBool::new(false));
    let fake = negotiating({
        let silent = Arc::clone(&silent);
        move |asked| match asked.peer.as_str() {
            "host-1:9092" if silent.load(Ordering::SeqCst) => Reply::Silence,
            _ if asked.is::<FindCoordinatorRequest>() => asked.answer(&FindCoordinatorResponse::default()),
            _ => brokers(asked, &[(1, "host-1"), (2, "host-2"), (3, "host-3")]),
        }
    });
    let pool = pool(&fake);
    pool.cluster().refreshed().await.unwrap();
    // The only connection that is open is to the one that will fall silent.
    pool.broker(1, Purpose::Control).await.unwrap();
    silent.store(true, Ordering::SeqCst);
    let ask = async || {
        let begun = Instant::now();
        let build = |_| FindCoordinatorRequest::default();
        pool.ask::<FindCoordinatorRequest>(Purpose::Control, 30 * SECOND, SECOND, build).await.unwrap();
        begun.elapsed()
    };
    assert_eq!(ask().await, SECOND);
    tokio::time::sleep(SECOND).await;
    assert_eq!(ask().await, Duration::ZERO, "whoever keeps silent comes last");
}

#[tokio::test(start_paused = true)]
async fn brokers_that_accept_and_say_nothing_are_tried_side_by_side() {
    let fake = Fake::new(|asked| match asked.peer.as_str() {
        "host-1:9092" | "host-2:9092" => Reply::Silence,
        _ if asked.is::<kafka_protocol::messages::ApiVersionsRequest>() => versions(asked),
        _ => brokers(asked, &[(1, "host-1"), (2, "host-2"), (3, "host-3")]),
    });
    let pool = pool(&fake);
    pool.cluster().refreshed().await.unwrap();
    let begun = Instant::now();
    pool.any(Purpose::Control).await.unwrap();
    assert!(begun.elapsed() <= 2 * SECOND, "{:?}", begun.elapsed());
}
