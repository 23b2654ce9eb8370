//! One client's connection: one request at a time, answers in the order of the requests.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kafka_client::seams::Stream;
use kafka_protocol::protocol::StrBytes;
use tokio::io::AsyncWriteExt;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::dispatch::{Closed, dispatch};
use super::frames::{Input, deliver};
use super::response::Response;
use crate::brokers::{LifeWatch, Mode};
use crate::cluster::Cluster;
use crate::faults::Rule;

/// How long a farewell may take.
const FAREWELL: Duration = Duration::from_secs(10);

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
        biased;
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
    let _ = timeout(FAREWELL, stream.shutdown()).await;
}

/// Runs `connection` while its broker runs: not at all while it is cut off, and no longer once it is stopped.
async fn while_running(
    life: LifeWatch,
    connection: impl Future<Output = Result<(), Closed>>,
) -> Result<(), Closed> {
    let mut connection = pin!(connection);
    let born = life.now().incarnation;
    loop {
        let now = life.now();
        if now.mode == Mode::Stopped || now.incarnation != born {
            return Ok(());
        }
        tokio::select! {
            biased;
            () = life.changed() => {}
            ended = &mut connection, if now.mode == Mode::Running => return ended,
        }
    }
}

async fn run(stream: &mut impl Stream, context: &mut Context) -> Result<(), Closed> {
    let mut input = Input::default();
    let cluster = Arc::clone(&context.cluster);
    let idle = cluster.settings.connections_max_idle;
    while let Some(frame) = input.frame(stream, idle, &cluster.incoming).await? {
        if let Some(response) = answer(stream, &mut input, context, frame).await? {
            let (delivery, mute) = (response.delivery(), response.mute());
            deliver(stream, response.finish(), delivery, idle).await?;
            // KIP-219: the client is told to wait, and what it sends nevertheless is not read.
            if let Some(time) = mute {
                sleep(time).await;
            }
        }
    }
    Ok(())
}

/// Answers a request. Meanwhile it listens on: a client that goes while its fetch or join waits is let go at once.
async fn answer(
    stream: &mut impl Stream,
    input: &mut Input,
    context: &mut Context,
    frame: Bytes,
) -> Result<Option<Response>, Closed> {
    // Boxed, since it is as large as the largest handler: connections that wait for a request are many.
    let answered = Box::pin(dispatch(context, frame));
    tokio::select! {
        biased;
        answer = answered => answer,
        gone = input.watch(stream) => gone.map(|()| None),
    }
}
