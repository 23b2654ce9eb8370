//! Damaged requests of every API and version, through the real dispatch: each is answered or ends its connection,
//! nothing panics, and the broker lives.
//!
//! A few thousand from a fixed seed by default. For more: `KAFKA_EMBEDDED_FUZZ=rounds` (of a hundred requests each) and
//! `KAFKA_EMBEDDED_SEED`. Among them are requests as Kafka's own classes write them (`tests/vectors`).

use std::panic;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, Once};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use kafka_client::seams::Rng;
use kafka_embedded::EmbeddedKafka;
use kafka_protocol::messages::ApiVersionsRequest;
use tokio::time::timeout;

use crate::peer::Peer;
use crate::versions;

/// Damaged requests that one cluster gets, before it may forget the topics that they made.
const ROUND: usize = 100;
/// Numbers on the edges: of lengths, counts, versions, offsets.
const EDGES: [u64; 8] = [0, 1, 0x7f, 0x7fff, 0x7fff_ffff, 0x8000_0000, u64::MAX, 0x7fff_ffff_ffff_ffff];

static PANICS: AtomicUsize = AtomicUsize::new(0);
static FIRST: Mutex<Option<String>> = Mutex::new(None);

/// Counts panics outside of tests: tokio catches those of the broker's tasks.
fn watch_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if info.location().is_some_and(|place| !place.file().contains("tests/")) {
                PANICS.fetch_add(1, Ordering::Relaxed);
                FIRST.lock().unwrap().get_or_insert(info.to_string());
            }
            before(info);
        }));
    });
}

/// A frame without its length.
fn body(frame: &Bytes) -> Bytes {
    frame.slice(4..)
}

fn below(rng: &Rng, bound: usize) -> usize {
    usize::try_from(rng.below(bound as u64)).unwrap()
}

/// Something that happens to bytes. The API and its version mostly stay.
fn damage(rng: &Rng, frame: &mut Vec<u8>, others: &[Bytes]) {
    let from = if rng.below(50) == 0 { 0 } else { 4.min(frame.len()) };
    let at = from + below(rng, (frame.len() - from).max(1));
    let end = frame.len();
    match rng.below(8) {
        0 => frame.get_mut(at).into_iter().for_each(|byte| *byte ^= 1 << rng.below(8)),
        1 => frame.get_mut(at).into_iter().for_each(|byte| *byte = u8::try_from(rng.below(256)).unwrap()),
        2 => frame.truncate(at),
        3 => {
            let removed = at..(at + 1 + below(rng, 8)).min(end);
            if removed.start < removed.end {
                frame.drain(removed);
            }
        }
        4 => {
            let many = 1 + below(rng, 16);
            let value = if rng.below(2) == 0 { 0xff } else { u8::try_from(rng.below(256)).unwrap() };
            frame.splice(at.min(end)..at.min(end), std::iter::repeat_n(value, many));
        }
        5 => {
            // A number of 1 to 8 bytes on the edge of its range.
            let edge = EDGES[below(rng, EDGES.len())].to_be_bytes();
            let width = 1 << rng.below(4);
            for (byte, edge) in frame.iter_mut().skip(at).zip(&edge[8 - width..]) {
                *byte = *edge;
            }
        }
        6 => {
            let other = &others[below(rng, others.len())];
            let cut = below(rng, other.len());
            frame.truncate(at);
            frame.extend_from_slice(&other[cut..]);
        }
        _ => {
            let copied = frame[at.min(end)..(at + below(rng, 32)).min(end)].to_vec();
            frame.splice(at.min(end)..at.min(end), copied);
        }
    }
}

async fn round(rng: &Rng, valid: &[Bytes]) {
    let builder = EmbeddedKafka::builder().brokers(2).topic("orders", 2).seed(rng.next_u64());
    let kafka = builder.in_memory().start().await.unwrap();
    for _ in 0..ROUND {
        let chosen = &valid[below(rng, valid.len())];
        let mut frame = chosen.to_vec();
        for _ in 0..=rng.below(3) {
            damage(rng, &mut frame, valid);
        }
        let mut whole = BytesMut::new();
        whole.put_u32(u32::try_from(frame.len()).unwrap());
        whole.put_slice(&frame);
        let mut peer = Peer::connect(&kafka, 1).await;
        peer.write(&whole).await;
        // An answer, the end, or a request that waits.
        let _ = timeout(Duration::from_millis(20), peer.frame()).await;
        let panics = PANICS.load(Ordering::Relaxed);
        assert_eq!(panics, 0, "{:?}\nof {chosen:02x?}\nas {frame:02x?}", FIRST.lock().unwrap());
    }
    let mut peer = Peer::connect(&kafka, 1).await;
    assert_eq!(peer.call(0, &ApiVersionsRequest::default()).await.error_code, 0, "it lives");
}

/// Requests as Kafka's own classes wrote them.
fn vectors() -> Vec<Bytes> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/vectors/wire.jsonl");
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let requests = text.lines().filter(|line| line.contains("Request\",\"api_key\""));
    let frames: Vec<Bytes> = requests.filter_map(vector).collect();
    assert!(frames.len() > 100, "{} requests in {path}", frames.len());
    frames
}

/// Header and body of one line.
fn vector(line: &str) -> Option<Bytes> {
    let mut parts = line.split("\"bytes\":\"").skip(1).map(|rest| rest.split('"').next().unwrap_or_default());
    let hex = [parts.next()?, parts.next()?].concat();
    let byte = |at: usize| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok();
    (0..hex.len()).step_by(2).map(byte).collect::<Option<Vec<u8>>>().map(Bytes::from)
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().expect(name))
}

#[test]
fn damaged_requests_of_every_version_do_no_harm() {
    watch_panics();
    let seed = setting("KAFKA_EMBEDDED_SEED", 1);
    let rng = Rng::seeded(seed);
    let runtime =
        || tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let mut valid: Vec<Bytes> = runtime().block_on(versions::frames()).iter().map(body).collect();
    valid.extend(vectors());
    for _ in 0..setting("KAFKA_EMBEDDED_FUZZ", 30) {
        runtime().block_on(round(&rng, &valid));
    }
}
