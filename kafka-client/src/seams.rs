//! What the client takes from outside: sockets, clocks, chance, and a runtime to run on.
//!
//! In production these are TCP, the system's clocks, the thread's random state and the client's own I/O thread.
//! In a simulation they are in-memory pipes, tokio's paused clock, a seeded generator and the test's own
//! `current_thread` runtime, and a run repeats exactly.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// A connected byte stream.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {
    /// The peer is given up, and the stream dropped next: what was written and has not got there is not to get there
    /// later. A system that closes a socket goes on sending what is written, for minutes where the network is away; a
    /// request that was long made again would come after its successors then. By default nothing is done about it; one that
    /// wraps another hands it on. (What the peer's system has already, the peer may still read.)
    fn give_up(&mut self) {}
}

impl Stream for TcpStream {
    /// Ends with a reset in place of a goodbye (`SO_LINGER` 0).
    fn give_up(&mut self) {
        // Where that cannot be set, the connection has ended already.
        let _ = self.set_zero_linger();
    }
}

impl Stream for DuplexStream {}

impl<S: Stream + ?Sized> Stream for Box<S> {
    fn give_up(&mut self) {
        (**self).give_up();
    }
}

/// The future of a [`Transport::connect`].
pub type Connecting<'a> = Pin<Box<dyn Future<Output = io::Result<Box<dyn Stream>>> + Send + 'a>>;

/// Opens byte streams to brokers.
pub trait Transport: Send + Sync + fmt::Debug + 'static {
    /// Connects to `host:port`. Every address that the host's name has is tried before this fails.
    fn connect<'a>(&'a self, host: &'a str, port: u16) -> Connecting<'a>;
}

/// TCP with `TCP_NODELAY`. **(default)**
#[derive(Debug, Clone, Copy, Default)]
pub struct Tcp;

impl Transport for Tcp {
    fn connect<'a>(&'a self, host: &'a str, port: u16) -> Connecting<'a> {
        Box::pin(async move {
            // It tries each address of the name in turn.
            let stream = TcpStream::connect((host, port)).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as Box<dyn Stream>)
        })
    }
}

/// The time, as instants for deadlines and as wall time for record timestamps.
pub trait Clock: Send + Sync + fmt::Debug + 'static {
    /// The monotonic time that deadlines and leases are measured in.
    fn now(&self) -> Instant;
    /// Milliseconds since 1970, the timestamp of a record that names none.
    fn wall_millis(&self) -> i64;
}

/// Waits for a moment; for ever, where there is none.
pub(crate) async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// The clocks of the system (and tokio's paused clock where a test paused it). **(default)**
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        Instant::now()
    }
    fn wall_millis(&self) -> i64 {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}

/// A clock whose wall time follows tokio's: where that is paused, a run has the same timestamps each time. Wall time
/// begins at 2020-01-01T00:00:00Z when the clock is made.
#[derive(Debug, Clone, Copy)]
pub struct VirtualClock {
    began: Instant,
}

impl VirtualClock {
    const BEGAN_AT: i64 = 1_577_836_800_000;

    /// A clock that begins now.
    #[must_use]
    pub fn new() -> Self {
        Self { began: Instant::now() }
    }
}

impl Default for VirtualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Instant {
        Instant::now()
    }
    fn wall_millis(&self) -> i64 {
        Self::BEGAN_AT.saturating_add(i64::try_from(self.began.elapsed().as_millis()).unwrap_or(i64::MAX))
    }
}

/// Chance, for back-off jitter, broker choice and sticky partitions. Never used for secrets.
#[derive(Debug)]
pub struct Rng(AtomicU64);

impl Rng {
    /// A generator whose numbers follow from `seed` alone.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    /// A generator seeded differently in every process and at every call.
    #[must_use]
    pub fn from_entropy() -> Self {
        use std::hash::{BuildHasher, Hasher, RandomState};
        Self::seeded(RandomState::new().build_hasher().finish())
    }

    /// The next number (SplitMix64).
    pub fn next_u64(&self) -> u64 {
        let state = self.0.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed);
        let mut z = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `bound`; 0 where `bound` is 0.
    pub fn below(&self, bound: u64) -> u64 {
        // The high half of a 128-bit product: uniform enough for choosing among brokers, and without division.
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// A number in `0.0..1.0`.
    pub fn unit(&self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// The seams together, cheap to clone.
#[derive(Debug, Clone)]
pub struct Seams {
    /// How brokers are reached.
    pub transport: Arc<dyn Transport>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Where chance comes from.
    pub rng: Arc<Rng>,
}

impl Default for Seams {
    fn default() -> Self {
        Self { transport: Arc::new(Tcp), clock: Arc::new(SystemClock), rng: Arc::new(Rng::from_entropy()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_virtual_clock_follows_tokios() {
        let clock = VirtualClock::new();
        assert_eq!(clock.wall_millis(), VirtualClock::BEGAN_AT);
        tokio::time::advance(std::time::Duration::from_millis(1500)).await;
        assert_eq!(clock.wall_millis(), VirtualClock::BEGAN_AT + 1500);
    }

    #[test]
    fn a_seed_decides_every_number() {
        let (one, two) = (Rng::seeded(7), Rng::seeded(7));
        for _ in 0..100 {
            assert_eq!(one.next_u64(), two.next_u64());
        }
        assert!((0..1000).all(|_| one.below(10) < 10 && one.unit() < 1.0));
        assert_eq!(one.below(0), 0);
    }
}
