//! One connection: calls in, answers out, one task that reads and writes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::protocol::{HeaderVersion, Request, StrBytes};
use tokio::io::{AsyncWrite, AsyncWriteExt, ReadHalf};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;

use super::frame::{FrameError, read_frame};
use super::handshake::Versions;
use super::waiting::{Line, Patience, Waiting};
use super::{Address, Purpose};
use crate::config::ClientConfig;
use crate::error::{Error, Result};
use crate::seams::{Seams, Stream, until};
use crate::wire;

/// A connection whose versions are negotiated. Closed when the last handle goes or the peer ends it; a call on a
/// closed connection fails with `Disconnected`, and the pool opens a new one at the next request for it.
#[derive(Debug)]
pub(crate) struct Connection {
    shared: Arc<Shared>,
    frames: mpsc::UnboundedSender<Frame>,
    pub(super) versions: Versions,
}

/// A frame on its way out, and who wants to know that it is.
#[derive(Debug)]
struct Frame {
    bytes: Bytes,
    written: Option<oneshot::Sender<()>>,
}

/// What the handle and the task have in common.
#[derive(Debug)]
struct Shared {
    peer: String,
    purpose: Purpose,
    client_id: StrBytes,
    longest_answer: usize,
    max_idle: Duration,
    seams: Seams,
    line: Mutex<Line>,
    closing: Notify,
    /// Somebody does not wait for an answer any more.
    left: Notify,
}

/// An answer, and the version that it and its request were written in.
#[derive(Debug)]
pub(crate) struct Answer<T> {
    pub(crate) version: i16,
    pub(crate) body: T,
}

impl Connection {
    /// Takes a connected stream over; its task runs on the current tokio runtime. No versions are known yet.
    pub(super) fn start(
        stream: Box<dyn Stream>,
        address: &Address,
        purpose: Purpose,
        client_id: StrBytes,
        config: &ClientConfig,
        seams: &Seams,
    ) -> Self {
        let shared = Arc::new(Shared {
            peer: address.to_string(),
            purpose,
            client_id,
            longest_answer: config.max_response_size,
            max_idle: config.connections_max_idle,
            line: Mutex::new(Line::new(seams.clock.now())),
            seams: seams.clone(),
            closing: Notify::new(),
            left: Notify::new(),
        });
        let (frames, outgoing) = mpsc::unbounded_channel();
        tokio::spawn(drive(stream, outgoing, Arc::clone(&shared)));
        Self { shared, frames, versions: Versions::default() }
    }

    /// Sends what `build` makes for the negotiated version and waits for the answer. Calls are pipelined; the future
    /// may be dropped at any time (the answer is then thrown away, the connection stays usable).
    /// The deadline is extended by the broker's `throttle_time_ms`, and while an answer is arriving.
    pub(crate) async fn call<R: Request>(
        &self,
        deadline: Duration,
        build: impl FnOnce(i16) -> R,
    ) -> Result<Answer<R::Response>> {
        self.call_up_to(i16::MAX, deadline, build).await
    }

    /// [`Connection::call`] at `highest` or a lower version, where a higher one cannot say what is meant.
    pub(crate) async fn call_up_to<R: Request>(
        &self,
        highest: i16,
        deadline: Duration,
        build: impl FnOnce(i16) -> R,
    ) -> Result<Answer<R::Response>> {
        let version = self.version::<R>()?.min(highest);
        let body = self.exchange(version, deadline, &build(version))?.await?;
        self.shared.decode::<R>(body, version)
    }

    /// [`Connection::call`] in two steps: when this returns, the request has its place in the line, before all later
    /// ones; the future waits for the answer. `version` is at most [`Connection::version`].
    pub(crate) fn begin<R: Request>(
        &self,
        deadline: Duration,
        version: i16,
        request: &R,
    ) -> Result<impl Future<Output = Result<Answer<R::Response>>> + Send + use<R>> {
        let answer = self.exchange(version, deadline, request)?;
        let shared = Arc::clone(&self.shared);
        Ok(async move { shared.decode::<R>(answer.await?, version) })
    }

    /// Sends a request that is never answered (Produce with acks 0), in two steps as [`Connection::begin`]: the future
    /// is done when it is written.
    pub(crate) fn begin_send<R: Request>(
        &self,
        version: i16,
        request: &R,
    ) -> Result<impl Future<Output = Result<()>> + Send + use<R>> {
        let (written, done) = oneshot::channel();
        self.enqueue(version, request, Some(written), |_| None)?;
        let shared = Arc::clone(&self.shared);
        Ok(async move {
            // Not written means that the connection ended before.
            done.await.map_err(|_| shared.line().closed().cloned().unwrap_or(Error::Closed))
        })
    }

    /// The version that `call::<R>` would use.
    pub(crate) fn version<R: Request>(&self) -> Result<i16> {
        self.versions
            .highest(R::KEY)
            .ok_or_else(|| Error::Unsupported { api: name::<R>(), broker: self.shared.peer.clone() })
    }

    /// The cluster's finalised feature `transaction.version`, as it was when this connection was opened.
    pub(crate) fn transaction_version(&self) -> i16 {
        self.versions.transaction_version
    }

    /// `host:port`, for errors.
    pub(crate) fn peer(&self) -> &str {
        &self.shared.peer
    }

    /// Whether a call has been waiting for longer than a healthy peer lets one wait, without a sign of life.
    pub(crate) fn keeps_silent(&self) -> bool {
        self.shared.line().is_silent(self.shared.seams.clock.now())
    }

    /// Whether calls fail from now on.
    pub(crate) fn is_closed(&self) -> bool {
        self.shared.line().closed().is_some()
    }

    /// Sends a request; the future waits for its answer's body.
    pub(super) fn exchange<R: Request>(
        &self,
        version: i16,
        deadline: Duration,
        request: &R,
    ) -> Result<impl Future<Output = Result<Bytes>> + Send + use<R>> {
        let patience = Patience { since: self.shared.seams.clock.now(), deadline };
        let (answer, answered) = oneshot::channel();
        self.enqueue(version, request, None, |correlation_id| {
            Some(Waiting {
                correlation_id,
                api_key: R::KEY,
                version,
                header_version: R::Response::header_version(version),
                patience,
                answer,
            })
        })?;
        let asker = Asker { shared: Arc::clone(&self.shared), is_answered: false };
        Ok(async move {
            // As a whole: its fields are not captured one by one.
            let mut asker = asker;
            let outcome = asker.shared.answer(name::<R>(), patience, answered).await;
            asker.is_answered = outcome.is_ok();
            asker.shared.trace(name::<R>(), version, patience.since, &outcome);
            outcome
        })
    }

    /// Puts the request into the line, if it is answered, and out. One lock for both keeps their orders the same;
    /// encoding, which copies what is produced, stays outside of it.
    fn enqueue<R: Request>(
        &self,
        version: i16,
        request: &R,
        written: Option<oneshot::Sender<()>>,
        waiting: impl FnOnce(i32) -> Option<Waiting>,
    ) -> Result<()> {
        let id = self.shared.line().next_id(self.shared.seams.clock.now())?;
        let frame = wire::request_frame(request, version, id, &self.shared.client_id)
            .map_err(|error| Error::Config(format!("{} cannot be written: {error}", name::<R>())))?;
        let mut line = self.shared.line();
        if let Some(call) = waiting(id) {
            line.push(call)?;
        }
        // A task that has ended closes the line, and with it this call.
        let _ = self.frames.send(Frame { bytes: frame, written });
        Ok(())
    }

    pub(super) fn decode<R: Request>(&self, body: Bytes, version: i16) -> Result<R::Response> {
        self.shared.decode::<R>(body, version).map(|answer| answer.body)
    }
}

/// Who waits for an answer.
struct Asker {
    shared: Arc<Shared>,
    is_answered: bool,
}

impl Drop for Asker {
    fn drop(&mut self) {
        if !self.is_answered {
            self.shared.left.notify_one();
        }
    }
}

/// Kafka's name of a request.
fn name<R: Request>() -> &'static str {
    wire::api(R::KEY).map_or("request", |api| api.name)
}

impl Shared {
    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The log of calls that were waited for, for who asks where time goes.
    fn trace(&self, api: &'static str, version: i16, since: Instant, outcome: &Result<Bytes>) {
        // In place: nothing of it is worked out where nobody listens.
        tracing::trace!(
            broker = %self.peer,
            purpose = ?self.purpose,
            api,
            version,
            took = ?self.seams.clock.now().saturating_duration_since(since),
            bytes = ?outcome.as_ref().map(Bytes::len),
            "called"
        );
    }

    fn disconnected(&self, reason: impl Into<String>) -> Error {
        Error::Disconnected { broker: self.peer.clone(), reason: reason.into() }
    }

    fn decode<R: Request>(&self, body: Bytes, version: i16) -> Result<Answer<R::Response>> {
        let malformed = |error: wire::DecodeError| Error::Malformed {
            api: name::<R>(),
            broker: self.peer.clone(),
            reason: error.0,
        };
        Ok(Answer { version, body: wire::decode(body, version).map_err(malformed)? })
    }

    async fn answer(
        &self,
        api: &'static str,
        patience: Patience,
        mut answered: oneshot::Receiver<Result<Bytes>>,
    ) -> Result<Bytes> {
        loop {
            let due = self.line().due(patience);
            if let Ok(outcome) = tokio::time::timeout_at(due, &mut answered).await {
                return outcome.unwrap_or(Err(Error::Closed));
            }
            if self.has_expired(patience) {
                return Err(Error::Timeout { api, broker: self.peer.clone(), after: patience.deadline });
            }
        }
    }

    /// Whether a call's time is over. If the oldest call's is, the peer is half open: the connection ends, so that
    /// the next call makes a new one.
    fn has_expired(&self, patience: Patience) -> bool {
        let now = self.seams.clock.now();
        let mut line = self.line();
        if line.due(patience) > now {
            return false;
        }
        if line.oldest_is_overdue(now) {
            line.close(&self.disconnected("no answer in time"));
            self.closing.notify_one();
        }
        true
    }

    async fn read(&self, stream: &mut ReadHalf<Box<dyn Stream>>) -> Error {
        loop {
            let progress = |incomplete| self.line().note_arrival(self.seams.clock.now(), incomplete);
            let frame = match read_frame(stream, self.longest_answer, progress).await {
                Ok(frame) => frame,
                Err(FrameError::Ended) => return self.disconnected("closed by the peer"),
                Err(FrameError::Io(error)) => return self.disconnected(error.to_string()),
                Err(FrameError::Foreign(reason)) => {
                    return Error::NotKafka { broker: self.peer.clone(), reason };
                }
            };
            if let Err(reason) = self.line().settle(frame, self.seams.clock.now()) {
                return Error::Malformed { api: "an answer", broker: self.peer.clone(), reason };
            }
        }
    }

    async fn write(
        &self,
        stream: &mut (impl AsyncWrite + Unpin),
        mut frames: mpsc::UnboundedReceiver<Frame>,
    ) -> Error {
        while let Some(frame) = frames.recv().await {
            let written = async {
                stream.write_all(&frame.bytes).await?;
                stream.flush().await
            };
            match (written.await, frame.written) {
                (Err(error), _) => return self.disconnected(error.to_string()),
                // Whoever asked may be gone.
                (Ok(()), Some(asked)) => _ = asked.send(()),
                (Ok(()), None) => {}
            }
        }
        self.disconnected("not needed any more")
    }

    /// Until a call is overdue that nobody waits for any more: no one else would notice that the peer is half open, and what is
    /// asked next would wait for its own time.
    async fn silence(&self) {
        loop {
            let look = self.line().left_due(self.seams.clock.now());
            tokio::select! {
                () = self.left.notified() => {}
                () = until(look) => {
                    if self.line().oldest_is_overdue(self.seams.clock.now()) {
                        return;
                    }
                }
            }
        }
    }

    async fn idle(&self) -> Error {
        loop {
            let now = self.seams.clock.now();
            let at = self.line().idle_at(self.max_idle, now);
            if at <= now {
                return self.disconnected("idle");
            }
            tokio::time::sleep_until(at).await;
        }
    }
}

/// The task of a connection: it ends with whatever ends first, and all that waits ends with it.
async fn drive(stream: Box<dyn Stream>, frames: mpsc::UnboundedReceiver<Frame>, shared: Arc<Shared>) {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let reason = tokio::select! {
        biased;
        () = shared.closing.notified() => None,
        () = shared.silence() => None,
        reason = shared.read(&mut reader) => Some(reason),
        reason = shared.write(&mut writer, frames) => Some(reason),
        reason = shared.idle() => Some(reason),
    };
    let reason = reason.unwrap_or_else(|| {
        reader.unsplit(writer).give_up();
        shared.disconnected("no answer in time")
    });
    let mut line = shared.line();
    let calls = if line.is_empty() { "none" } else { "some" };
    tracing::debug!(broker = %shared.peer, purpose = ?shared.purpose, %reason, calls, "connection ended");
    line.close(&reason);
}
