//! An instance's connections, which can be cut.

use std::io;
use std::sync::Arc;

use kafka_client::seams::{Connecting, Stream, Transport};
use kafka_client::watch;
use tokio::io::{copy_bidirectional, duplex};

/// Bytes under way before the writer waits.
const PIPE: usize = 64 * 1024;

/// How a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Up,
    /// Nothing goes through, and nobody is told.
    Silent,
    /// Connections end, and no new one is made.
    Dead,
}

/// A transport that can be cut. Clones are the same line.
#[derive(Debug, Clone)]
pub(super) struct Line {
    inner: Arc<dyn Transport>,
    state: Arc<watch::Sender<State>>,
}

impl Line {
    pub(super) fn new(inner: impl Transport) -> Self {
        Self { inner: Arc::new(inner), state: Arc::new(watch::Sender::new(State::Up)) }
    }

    /// Up again after silence ends what was connected before: its bytes are lost.
    pub(super) fn set(&self, state: State) {
        self.state.send_replace(state);
    }

    /// All connections end; new ones can be made at once.
    pub(super) fn reset(&self) {
        self.set(State::Dead);
        self.set(State::Up);
    }
}

impl Transport for Line {
    fn connect<'a>(&'a self, host: &'a str, port: u16) -> Connecting<'a> {
        Box::pin(async move {
            let mut state = self.state.subscribe();
            let gone = |_| io::Error::from(io::ErrorKind::ConnectionRefused);
            if *state.wait_for(|state| *state != State::Silent).await.map_err(gone)? == State::Dead {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            let far = self.inner.connect(host, port).await?;
            let (near, end) = duplex(PIPE);
            tokio::spawn(carry(end, far, state));
            Ok(Box::new(near) as Box<dyn Stream>)
        })
    }
}

/// Carries bytes both ways until either side ends or the line is cut.
async fn carry(mut near: impl Stream, mut far: Box<dyn Stream>, mut state: watch::Receiver<State>) {
    drop(state.borrow_and_update());
    tokio::select! {
        biased;
        _ = state.changed() => {}
        _ = copy_bidirectional(&mut near, &mut far) => return,
    }
    // Silence keeps both ends open; what comes after it finds them ended.
    drop(state.wait_for(|state| *state != State::Silent).await);
}
