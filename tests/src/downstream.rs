use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

/// A service that answers each call after the same time, on a thread of its own: what a handler that waits for another
/// machine sees. tokio's timer would not do: its ticks are whole milliseconds, and 10 ms become 11.
#[derive(Debug)]
pub struct Downstream {
    calls: Sender<Call>,
    takes: Duration,
}

#[derive(Debug)]
struct Call {
    due: Instant,
    answer: oneshot::Sender<()>,
}

impl Downstream {
    /// The thread ends when this is dropped.
    pub fn new(takes: Duration) -> Self {
        let (calls, called) = channel();
        std::thread::spawn(move || answer(&called));
        Self { calls, takes }
    }

    pub async fn call(&self) {
        let (answer, answered) = oneshot::channel();
        let due = Instant::now() + self.takes;
        if self.calls.send(Call { due, answer }).is_ok() {
            let _ = answered.await;
        }
    }
}

/// All calls take the same time, so the first to come is the first to be due.
fn answer(called: &Receiver<Call>) {
    for Call { due, answer } in called {
        sleep(due.saturating_duration_since(Instant::now()));
        let _ = answer.send(());
    }
}
