//! One client's connection: one request at a time, answers in the order of the requests.

use std::io;
use std::pin::pin;
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use kafka_protocol::protocol::StrBytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;
use tokio::task::yield_now;
use tokio::time::sleep;

use super::dispatch::{Closed, dispatch};
use super::response::{Parts, Response};
use crate::brokers::{Life, Mode};
use crate::cluster::Cluster;
use crate::faults::{Delivery, Rule};
use kafka_client::seams::Stream;

/// `socket.request.max.bytes`
const MAX_FRAME: usize = 100 * 1024 * 1024;
/// What a read has room for at least. However long a frame claims to be, memory is taken as its bytes come.
const READ_AHEAD: usize = 16 * 1024;
/// A buffer that grew beyond this is not kept for the next frame.
const KEPT: usize = 1024 * 1024;

/// Whose request it is, and which broker was asked.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) cluster: Arc<Cluster>,
    /// The broker's id.
    pub(crate) node: i32,
    /// The client's address, as DescribeGroups shows it.
    pub(crate) peer: StrBytes,
    /// Distinguishes connections in fetch sessions and logs.
    pub(crate) client_id: Option<StrBytes>,
    /// The version that the request was written in.
    pub(crate) version: i16,
    /// The faults that refuse some of what the request names.
    pub(crate) refusing: Vec<Arc<Rule>>,
}

/// A request, as an observer sees it.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct RequestSeen<'a> {
    /// The id of the broker that was asked.
    pub broker: i32,
    /// The API's name, such as `Fetch`.
    pub api: &'static str,
    /// The version of the request.
    pub version: i16,
    /// What the client calls itself.
    pub client_id: Option<&'a str>,
    /// The client's address.
    pub peer: &'a str,
}

/// Serves `stream` until either side ends it, or the cluster stops.
pub(crate) async fn serve(
    mut stream: impl Stream,
    cluster: Arc<Cluster>,
    node: i32,
    peer: StrBytes,
    mut stopped: watch::Receiver<()>,
) {
    let mut context = Context { cluster, node, peer, client_id: None, version: 0, refusing: Vec::new() };
    let Some(life) = context.cluster.brokers.watch(node) else { return };
    let ended = tokio::select! {
        ended = while_running(life, run(&mut stream, &mut context)) => ended,
        _ = stopped.changed() => Ok(()),
    };
    match ended {
        Ok(()) => tracing::debug!(peer = %context.peer, node = context.node, "connection ended"),
        Err(reason) => {
            tracing::debug!(peer = %context.peer, node = context.node, %reason, "connection closed");
        }
    }
    // What was answered still leaves; a peer that has gone is no concern.
    let _ = stream.shutdown().await;
}

/// Runs `connection` while its broker runs: not at all while it is cut off, and no longer once it is stopped.
async fn while_running(
    mut life: watch::Receiver<Life>,
    connection: impl Future<Output = Result<(), Closed>>,
) -> Result<(), Closed> {
    let mut connection = pin!(connection);
    let born = life.borrow().incarnation;
    loop {
        let now = *life.borrow_and_update();
        if now.mode == Mode::Stopped || now.incarnation != born {
            return Ok(());
        }
        tokio::select! {
            ended = &mut connection, if now.mode == Mode::Running => return ended,
            changed = life.changed() => {
                if changed.is_err() {
                    return Ok(());
                }
            }
        }
    }
}

async fn run(stream: &mut impl Stream, context: &mut Context) -> Result<(), Closed> {
    let mut input = BytesMut::with_capacity(READ_AHEAD);
    while let Some(frame) = read_frame(stream, &mut input).await? {
        if let Some(response) = answer(stream, &mut input, context, frame).await? {
            let (delivery, mute) = (response.delivery(), response.mute());
            deliver(stream, response.finish(), delivery).await?;
            // KIP-219: the client is told to wait, and what it sends nevertheless is not read.
            if let Some(time) = mute {
                sleep(time).await;
            }
        }
    }
    Ok(())
}

async fn deliver(stream: &mut impl Stream, mut parts: Parts, delivery: Delivery) -> Result<(), Closed> {
    match delivery {
        Delivery::Whole => stream.write_all_buf(&mut parts).await?,
        Delivery::ByteByByte => {
            while parts.has_remaining() {
                stream.write_u8(parts.get_u8()).await?;
                stream.flush().await?;
                yield_now().await;
            }
        }
        Delivery::Cut(bytes) => {
            let kept = bytes.min(parts.remaining().saturating_sub(1));
            stream.write_all_buf(&mut parts.take(kept)).await?;
            stream.flush().await?;
            return Err(Closed::Fault);
        }
    }
    stream.flush().await?;
    Ok(())
}

/// Answers a request. Meanwhile it listens on: a client that goes while its fetch or join waits is let go at once.
async fn answer(
    stream: &mut impl Stream,
    input: &mut BytesMut,
    context: &mut Context,
    frame: Bytes,
) -> Result<Option<Response>, Closed> {
    let mut answered = pin!(dispatch(context, frame));
    loop {
        tokio::select! {
            biased;
            answer = &mut answered => return answer,
            // Not more than a buffer full is read ahead.
            read = stream.read_buf(input), if input.len() < READ_AHEAD => {
                if read? == 0 {
                    return Err(truncated());
                }
            }
        }
    }
}

/// The next frame without its length; `None` where the peer ended the stream between frames.
async fn read_frame(stream: &mut impl Stream, input: &mut BytesMut) -> Result<Option<Bytes>, Closed> {
    if input.is_empty() && input.capacity() > KEPT {
        *input = BytesMut::new();
    }
    while input.len() < 4 {
        input.reserve(READ_AHEAD);
        if stream.read_buf(input).await? == 0 {
            return if input.is_empty() { Ok(None) } else { Err(truncated()) };
        }
    }
    let announced = input.get_i32();
    let length = usize::try_from(announced).ok().filter(|length| *length <= MAX_FRAME);
    let length = length.ok_or(Closed::FrameSize(announced))?;
    while input.len() < length {
        let missing = length - input.len();
        input.reserve(missing.min(3 * input.len().max(READ_AHEAD)));
        if stream.read_buf(input).await? == 0 {
            return Err(truncated());
        }
    }
    Ok(Some(input.split_to(length).freeze()))
}

fn truncated() -> Closed {
    Closed::Io(io::ErrorKind::UnexpectedEof.into())
}
