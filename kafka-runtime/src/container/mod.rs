//! A listener at work.
//!
//! ```text
//! member     a group member (or a reader of fixed partitions): its events, its partitions, its commits
//! forward    what handlers return goes on, by the template or in the record's transaction
//! flow       the gate of all records: rate limit, circuit breaker (both pure); downstream: what is asked whether it is up
//! steering   what it does when its operator wants something; pauses: what is paused
//! give_back  revoked: drain, commit, let go; lost: drop
//! partition  one value owns a partition: stream, order, in flight, ledger
//! feed       its stream, opened batch by batch
//! work       what all partitions of a listener share; the handler, dynamic once per batch
//! parallel   the same for records of a partition side by side (`ordering = "key"`, `"none"`)
//! drive      the loop over a batch, generic per handler; batch_drive for handlers of batches
//! lane       what stands between a record and its handler: signals, lease, cadence, permit; failures
//! recovery   what becomes of a record that failed: policy (pure), back-off (pure), dead letters
//! outcome    how a failed record is told
//! listed     partitions in a line, for messages
//! ack        acknowledgement by hand; ledger: how far it is safe to commit (pure); unsettled: what is open; again: deliver again
//! cadence    when to commit (pure)
//! transact   exactly once: transactions instead of commits; bounds: where they begin and end (pure)
//! commit     sync, async, combined: one committer per member; book: who wants what (pure)
//! permits    handlers at once, over partitions in order
//! shared     what a partition's loop shares with its member; watch: what that looks at now and then
//! status     what is shown of it: status, health, lag, open records, events
//! ```

mod ack;
mod again;
mod batch_drive;
mod breaker;
mod cadence;
mod commit;
mod downstream;
mod drive;
mod feed;
#[cfg(test)]
mod fixture;
mod flow;
mod forward;
mod give_back;
mod lane;
mod ledger;
mod limit;
mod listed;
#[cfg(test)]
mod lives;
mod member;
mod outcome;
mod parallel;
mod partition;
mod pauses;
mod permits;
mod recovery;
mod shared;
mod status;
mod steering;
#[cfg(test)]
mod tests;
mod transact;
mod unsettled;
mod watch;
mod work;

pub use ack::{Ack, AckError, AckIssuer};
pub use commit::{CommitEvent, PartitionCommit};
pub(crate) use commit::{CommitHook, CommitPolicy};
pub(crate) use downstream::Check;
pub(crate) use member::Member;
pub use parallel::OpenPhase;
pub(crate) use parallel::{Frame, Remembered, encode};
pub(crate) use recovery::{Hops, ListenerOutlet, Publisher, hop_plan};
pub use shared::{Counts, PartitionPhase, Retrying, Writing};
pub(crate) use status::{Board, Events, Idleness, Rest};
pub use status::{
    EventKind, EventStream, Health, HealthStatus, ListenerEvent, ListenerHealth, ListenerState,
    ListenerStatus, OpenRecord, PartitionLag, PartitionStatus, Undone,
};
pub use steering::Selection;
pub(crate) use steering::{Order, Sought};
pub(crate) use transact::Transactions;
pub use work::Bound;
pub(crate) use work::ListenerWork;
