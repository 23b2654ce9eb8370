//! How an application ended.

use std::fmt;
use std::time::Duration;

use crate::container::{ListenerState, ListenerStatus, Undone};

/// What was done, and what was left undone, when the application stopped.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Summary {
    /// Each listener, as it was at the end.
    pub listeners: Vec<ListenerStatus>,
    /// Records whose handlers were cut off. They are handled again.
    pub undone: Vec<Undone>,
    /// Why sends were not flushed, if they were not.
    pub unsent: Option<String>,
    /// How long stopping took.
    pub took: Duration,
}

impl Summary {
    /// Whether nothing was left undone.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        let still_running = self.listeners.iter().any(|listener| listener.state == ListenerState::Running);
        self.undone.is_empty() && self.unsent.is_none() && !still_running
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = if self.is_clean() { "stopped" } else { "stopped with work left undone" };
        write!(f, "{how} after {:?}", self.took)?;
        for ListenerStatus { id, state, counts, .. } in &self.listeners {
            write!(
                f,
                "\n  - {id}: {} handled, {} tries failed, {} dead letters, {} skipped",
                counts.handled, counts.failed, counts.dead_lettered, counts.skipped
            )?;
            match state {
                ListenerState::Running => f.write_str("; it did not stop in time")?,
                ListenerState::Failed(cause) => write!(f, "; failed: {cause}")?,
                ListenerState::NotStarted | ListenerState::Stopped => {}
            }
        }
        for Undone { listener, partition, offset } in &self.undone {
            write!(f, "\n  - {listener}: {partition} at offset {offset} was cut off; it is handled again")?;
        }
        match &self.unsent {
            Some(why) => write!(f, "\n  - not everything was sent: {why}"),
            None => Ok(()),
        }
    }
}
