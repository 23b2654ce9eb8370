//! Frames in and out, within bounds: of size, of time, and of what all that is on its way in takes together.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use kafka_client::seams::Stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::yield_now;
use tokio::time::timeout;

use super::dispatch::Closed;
use super::response::Parts;
use crate::faults::Delivery;

/// `socket.request.max.bytes`
const MAX_FRAME: usize = 100 * 1024 * 1024;
/// What a connection that waits for a frame has room for at least: thousands of them wait.
const ROOM: usize = 1024;
/// What it has room for at most, where its last frame was as large: the next one, or several, come with one read.
const MOST_ROOM: usize = 64 * 1024;
/// What a read within a frame has room for at least. However long a frame claims to be, memory is taken as its bytes
/// come.
const READ_AHEAD: usize = 16 * 1024;
/// A buffer that grew beyond this is not kept for the next frame.
const KEPT: usize = 1024 * 1024;
/// What requests on their way in may take together. Small ones do not count.
const ALL_FRAMES: usize = 512 * 1024 * 1024;

/// Counts what requests take that have begun and not ended.
#[derive(Debug, Default)]
pub(crate) struct Incoming(AtomicUsize);

/// A request's part of it, given back with this.
struct Claim<'i> {
    incoming: &'i Incoming,
    bytes: usize,
}

impl Claim<'_> {
    fn grow(&mut self, by: usize) -> Result<(), Closed> {
        self.bytes += by;
        let before = self.incoming.0.fetch_add(by, Ordering::Relaxed);
        if before + by > ALL_FRAMES { Err(Closed::Crowded) } else { Ok(()) }
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.incoming.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// What a connection has read.
#[derive(Debug, Default)]
pub(crate) struct Input {
    buffer: BytesMut,
    /// Bytes of the last frame.
    last: usize,
}

impl Input {
    /// The next frame without its length; `None` where the peer ended the stream between frames. A peer that sends
    /// nothing for as long as `idle` has gone.
    pub(crate) async fn frame(
        &mut self,
        stream: &mut impl Stream,
        idle: Duration,
        incoming: &Incoming,
    ) -> Result<Option<Bytes>, Closed> {
        let Self { buffer, last } = self;
        if buffer.is_empty() && buffer.capacity() > KEPT {
            *buffer = BytesMut::new();
        }
        while buffer.len() < 4 {
            buffer.reserve((4 + *last).clamp(ROOM, MOST_ROOM));
            if read(stream, buffer, idle).await? == 0 {
                return if buffer.is_empty() { Ok(None) } else { Err(truncated()) };
            }
        }
        let announced = buffer.get_i32();
        let length = usize::try_from(announced).ok().filter(|length| *length <= MAX_FRAME);
        let length = length.ok_or(Closed::FrameSize(announced))?;
        let mut claim = Claim { incoming, bytes: 0 };
        while buffer.len() < length {
            let room = (length - buffer.len()).min(3 * buffer.len().max(READ_AHEAD));
            if length > KEPT && buffer.capacity() - buffer.len() < room {
                claim.grow(room)?;
            }
            buffer.reserve(room);
            if read(stream, buffer, idle).await? == 0 {
                return Err(truncated());
            }
        }
        *last = length;
        Ok(Some(buffer.split_to(length).freeze()))
    }

    /// Reads on while a request is being answered, not more than a buffer full, so that a peer that goes is noticed.
    pub(crate) async fn watch(&mut self, stream: &mut impl Stream) -> Result<(), Closed> {
        while self.buffer.len() < READ_AHEAD {
            if stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(truncated());
            }
        }
        std::future::pending().await
    }
}

async fn read(stream: &mut impl Stream, into: &mut BytesMut, idle: Duration) -> Result<usize, Closed> {
    timeout(idle, stream.read_buf(into)).await.map_err(|_| Closed::Idle)?.map_err(Closed::Io)
}

fn truncated() -> Closed {
    Closed::Io(io::ErrorKind::UnexpectedEof.into())
}

/// Sends an answer. A peer that takes nothing for as long as `idle` has gone.
pub(crate) async fn deliver(
    stream: &mut impl Stream,
    mut parts: Parts,
    delivery: Delivery,
    idle: Duration,
) -> Result<(), Closed> {
    match delivery {
        Delivery::Whole => write(stream, &mut parts, idle).await?,
        Delivery::ByteByByte => {
            while parts.has_remaining() {
                write(stream, &mut (&mut parts).take(1), idle).await?;
                yield_now().await;
            }
        }
        Delivery::Cut(bytes) => {
            let kept = bytes.min(parts.remaining().saturating_sub(1));
            write(stream, &mut parts.take(kept), idle).await?;
            return Err(Closed::Fault);
        }
    }
    Ok(())
}

async fn write(stream: &mut impl Stream, parts: &mut impl Buf, idle: Duration) -> Result<(), Closed> {
    loop {
        let before = parts.remaining();
        match timeout(idle, stream.write_all_buf(parts)).await {
            Ok(written) => break written?,
            Err(_) if parts.remaining() < before => {}
            Err(_) => return Err(Closed::Idle),
        }
    }
    timeout(idle, stream.flush()).await.map_err(|_| Closed::Idle)?.map_err(Closed::Io)
}
