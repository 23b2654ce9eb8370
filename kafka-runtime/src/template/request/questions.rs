//! Questions without an answer yet, by correlation id.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kafka_client::Error;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use crate::template::Received;

/// Those that one reader has answers for.
#[derive(Default)]
pub(super) struct Questions {
    open: Mutex<Open>,
    /// Told of each question.
    asked: Notify,
}

#[derive(Default)]
struct Open {
    waiting: HashMap<Vec<u8>, Waiting>,
    /// One was taken back without an answer since somebody asked for that.
    missed: bool,
    /// Why no answers are read any more.
    ended: Option<Error>,
}

struct Waiting {
    since: Instant,
    answer: oneshot::Sender<Received>,
}

/// A question, which is taken back with this value.
pub(super) struct Asked {
    questions: Arc<Questions>,
    pub(super) id: Vec<u8>,
    answered: oneshot::Receiver<Received>,
}

impl Questions {
    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn ask(self: &Arc<Self>, id: Vec<u8>) -> Asked {
        let (answer, answered) = oneshot::channel();
        let mut open = self.open();
        // Without a reader nobody would ever answer: the question learns that at once.
        if open.ended.is_none() {
            open.waiting.insert(id.clone(), Waiting { since: Instant::now(), answer });
        }
        drop(open);
        self.asked.notify_one();
        Asked { questions: Arc::clone(self), id, answered }
    }

    /// Hands an answer to whoever waits for it; an answer to somebody else's question is passed over.
    pub(super) fn answer(&self, id: &[u8], answer: impl FnOnce() -> Received) {
        let asked = self.open().waiting.remove(id);
        if let Some(asked) = asked {
            // Who does not wait any more does not need it.
            let _ = asked.answer.send(answer());
        }
    }

    /// Waits until there is a question that was not there before.
    pub(super) async fn asked(&self) {
        self.asked.notified().await;
    }

    /// Whether one has waited for so long, or was taken back without an answer since the last call.
    pub(super) fn are_missing_answers(&self, patience: Duration) -> bool {
        let mut open = self.open();
        std::mem::take(&mut open.missed)
            || open.waiting.values().any(|question| question.since.elapsed() >= patience)
    }

    /// Whether answers are read.
    pub(super) fn are_read(&self) -> bool {
        self.open().ended.is_none()
    }

    /// Answers are not read any more. Only the first reason counts.
    pub(super) fn end(&self, why: Error) {
        let mut open = self.open();
        open.ended.get_or_insert(why);
        open.waiting.clear();
    }
}

impl Asked {
    /// The answer, or why there will be none. Cancel-safe.
    pub(super) async fn answer(&mut self) -> Result<Received, Error> {
        let answered = (&mut self.answered).await;
        answered.map_err(|_| self.questions.open().ended.clone().unwrap_or(Error::Closed))
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        let mut open = self.questions.open();
        let unanswered = open.waiting.remove(&self.id).is_some();
        open.missed |= unanswered;
    }
}
