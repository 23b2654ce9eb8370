//! A worker: takes a record, hands it to the handler, says what became of it. Generic per handler, boxed once.

use std::sync::Arc;

use tokio::time::{Duration, Instant};
use tracing::{info, warn};

use super::Site;
use super::desk::Ticket;
use super::pool::Worker;
use crate::container::drive::{caught, wanted};
use crate::container::events::EventKind;
use crate::container::flow::{Fate, Pass};
use crate::container::outcome::told;
use crate::container::recovery::{Failed, Resolution};
use crate::container::shared::Counts;
use crate::container::work::ListenerWork;
use crate::listener::{Delivery, Failure, Handler, Prepared};

/// Records of one partition before the next partition has its turn.
const TURN: u32 = 64;
/// Records between two chances for other tasks of the thread, while handlers return at once.
const YIELD_EVERY: u32 = 64;

/// Runs until it is not needed any more.
pub(crate) async fn work_off<H: Handler>(prepared: &Prepared, work: &Arc<ListenerWork>, mut worker: Worker) {
    let mut since_yield = 0;
    while let Some(site) = worker.next().await {
        for _ in 0..TURN {
            let Some(pass) = leave(work, &site).await else { break };
            let Some(ticket) = site.desk.take(Instant::now()) else {
                if site.desk.has_news() {
                    site.shared.wake();
                }
                break;
            };
            handle::<H>(prepared, work, &site, ticket, pass).await;
            since_yield += 1;
            if since_yield >= YIELD_EVERY {
                since_yield = 0;
                tokio::task::yield_now().await;
            }
            if worker.is_too_many() {
                break;
            }
        }
        // What it leaves there is for others.
        work.pool.offer(work, &site);
    }
}

/// Waits until the listener's gate lets a record go, if it has one. `None`: the partition has gone.
async fn leave(work: &ListenerWork, site: &Site) -> Option<Option<Pass>> {
    let Some(flow) = &work.flow else { return Some(None) };
    tokio::select! {
        biased;
        pass = flow.pass(1) => Some(Some(pass)),
        () = site.desk.aborted() => None,
    }
}

/// What a record comes to.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Handled,
    /// Done without its handler.
    Settled,
    Retry(Duration),
    /// The circuit is open: as if it had not been tried.
    Again,
    Stop(String),
}

/// One record; dropped at its await point when the partition is gone.
async fn handle<H: Handler>(
    prepared: &Prepared,
    work: &ListenerWork,
    site: &Site,
    ticket: Ticket,
    mut pass: Option<Pass>,
) {
    let offset = ticket.taken.offset;
    // Tries in place are not limited.
    if let Some(pass) = pass.as_mut().filter(|_| ticket.taken.attempt == 1) {
        pass.spend(1);
    }
    let handled = async {
        let batch = &*ticket.item.batch;
        let record = match batch.batch().record_at(ticket.item.position) {
            Ok(record) => record,
            Err(error) => {
                return Next::Stop(format!("{} at offset {offset}: {error}", site.shared.partition));
            }
        };
        let (partition, attempt) = (site.shared.partition, ticket.taken.attempt);
        let delivery =
            Delivery { record, batch, partition, listener: work.id, attempt, acks: None, tx: None };
        if !wanted(|| H::keeps(&delivery)) {
            site.shared.add(Counts { filtered: 1, ..Counts::default() });
            return Next::Settled;
        }
        match caught(|| H::call(prepared, delivery), |failure| failure, || {}, work.settings.handler_timeout)
            .await
        {
            Ok(()) => {
                went_well(work, pass.as_mut());
                Next::Handled
            }
            Err(failure) => resolve(work, site, delivery, &failure, (ticket.failed, pass.as_mut())).await,
        }
    };
    let next = tokio::select! {
        biased;
        next = handled => next,
        () = site.desk.aborted() => return,
    };
    let told = match next {
        Next::Handled | Next::Settled => {
            let told = site.desk.finish(offset);
            let handled = u64::from(next == Next::Handled);
            site.shared.add(Counts { handled, ..Counts::default() });
            if ticket.taken.attempt > 1 && site.desk.is_calm() {
                site.shared.set_cause(None);
            }
            told
        }
        Next::Retry(wait) => {
            let now = Instant::now();
            site.desk.park(offset, now + wait, now)
        }
        Next::Again => site.desk.put_back(offset, Instant::now()),
        Next::Stop(cause) => site.desk.stop_at(offset, cause),
    };
    if told {
        site.shared.wake();
    }
}

async fn resolve(
    work: &ListenerWork,
    site: &Site,
    delivery: Delivery<'_>,
    failure: &Failure,
    (failed, pass): (Option<Instant>, Option<&mut Pass>),
) -> Next {
    let Delivery { record, batch, partition, attempt, .. } = delivery;
    let since = failed.unwrap_or_else(Instant::now);
    let failed = Failed { record, batch, partition, attempt, since, tx: None };
    work.events.emit(work.id, || EventKind::RecordFailed {
        partition,
        offset: record.offset,
        attempt,
        cause: told(failure),
    });
    if let Some(flow) = &work.flow {
        let fate =
            flow.failed(work.recovery.may_pass(failure), pass.as_ref().is_some_and(|pass| pass.is_probe()));
        if let Fate::Again(opened) = fate {
            let _ = pass.map(Pass::settled);
            tell_open(work, site, &failed, failure, opened);
            return Next::Again;
        }
    }
    match work.recovery.resolve(&failed, failure, &site.shared).await {
        Resolution::Retry(wait) => Next::Retry(wait),
        Resolution::Settled => Next::Settled,
        Resolution::Stop(cause) => Next::Stop(cause),
    }
}

/// A record was handled.
fn went_well(work: &ListenerWork, pass: Option<&mut Pass>) {
    let Some(flow) = &work.flow else { return };
    if flow.succeeded(pass.as_ref().is_some_and(|pass| pass.is_probe())) {
        info!(listener = work.id, "a probe succeeded: the circuit is closed, the listener goes on");
        work.events.emit(work.id, || EventKind::CircuitClosed);
    }
    let _ = pass.map(Pass::settled);
}

/// The circuit is open: the record waits with all others.
fn tell_open(
    work: &ListenerWork,
    site: &Site,
    failed: &Failed<'_>,
    failure: &Failure,
    opened: Option<Duration>,
) {
    let (listener, record, cause) = (work.id, failed.at(), told(failure));
    site.shared.add(Counts { failed: 1, ..Counts::default() });
    site.shared.set_cause(Some(format!("the circuit is open since {record}: {cause}")));
    if let Some(pause) = opened {
        warn!(listener, %record, ?pause, cause, "the circuit is open: the listener pauses, then probes with one record");
        work.events.emit(listener, || EventKind::CircuitOpened { pause, cause });
    }
}
