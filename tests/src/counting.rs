//! A transport that counts what it asks of the operating system.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use kafka_client::seams::{Connecting, Seams, Stream, Tcp, Transport};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// TCP, with every read and write of a socket counted. Clones count together.
#[derive(Debug, Clone, Default)]
pub struct Counting {
    calls: Arc<AtomicU64>,
}

impl Counting {
    /// Reads and writes so far: each is one system call at most.
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// The seams of an application whose sockets are counted here.
    pub fn seams(&self) -> Seams {
        Seams { transport: Arc::new(self.clone()), ..Seams::default() }
    }
}

impl Transport for Counting {
    fn connect<'a>(&'a self, host: &'a str, port: u16) -> Connecting<'a> {
        Box::pin(async move {
            let inner = Tcp.connect(host, port).await?;
            Ok(Box::new(Counted { inner, calls: Arc::clone(&self.calls) }) as Box<dyn Stream>)
        })
    }
}

struct Counted {
    inner: Box<dyn Stream>,
    calls: Arc<AtomicU64>,
}

impl Counted {
    /// Pending is told from what is known of the socket, mostly without asking.
    fn count<T>(&self, poll: Poll<T>) -> Poll<T> {
        if poll.is_ready() {
            self.calls.fetch_add(1, Ordering::Relaxed);
        }
        poll
    }
}

impl Stream for Counted {
    fn give_up(&mut self) {
        self.inner.give_up();
    }
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.inner).poll_read(cx, buf);
        self.count(poll)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.count(poll)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.inner).poll_write_vectored(cx, parts);
        self.count(poll)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
