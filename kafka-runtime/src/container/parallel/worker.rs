//! A worker: takes a record, hands it to the handler, says what became of it. Generic per handler, boxed once.

use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::Arc;

use futures_util::FutureExt;
use tokio::time::{Duration, Instant};
use tracing::{error, info, warn};

use super::Site;
use super::desk::Ticket;
use super::dispatch::Taken;
use super::pool::Worker;
use crate::container::drive::{caught, wanted};
use crate::container::flow::{Fate, Pass};
use crate::container::forward::arrived;
use crate::container::outcome::told;
use crate::container::recovery::{Failed, Resolution};
use crate::container::shared::Counts;
use crate::container::status::EventKind;
use crate::container::work::ListenerWork;
use crate::listener::{Delivery, Failure, Handler, HandlerError, Outbox, Prepared};
use crate::template::Pending;

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
            let offset = ticket.taken.offset;
            let handled = pin!(handle::<H>(prepared, work, &site, ticket, pass));
            visibly(work, &site, offset, handled).await;
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
enum Next {
    Handled,
    /// It is up to brokers, and open until they have answered; its worker goes on meanwhile.
    Open(Open),
    /// Done without its handler.
    Settled,
    /// After that time; with the record and its failure.
    Retry(Duration, String),
    /// The circuit is open: as if it had not been tried.
    Again,
    Stop(String),
}

/// What brokers have to answer.
enum Open {
    /// What its handler returned is on its way.
    Sent(Vec<Pending>),
    /// It has failed, and is to be written to another topic.
    Failed(Failure),
}

/// One record; dropped at its await point when the partition is gone.
async fn handle<H: Handler>(
    prepared: &Prepared,
    work: &Arc<ListenerWork>,
    site: &Arc<Site>,
    ticket: Ticket,
    mut pass: Option<Pass>,
) {
    let next = tokio::select! {
        biased;
        next = call::<H>(prepared, work, site, &ticket, &mut pass) => next,
        () = site.desk.aborted() => return,
    };
    let Next::Open(open) = next else { return settle(site, &ticket, next) };
    let (work, waiting, offset) = (Arc::clone(work), Arc::clone(site), ticket.taken.offset);
    site.waiter.watch(async move {
        let concluded = pin!(conclude(&work, &waiting, ticket, pass, open));
        visibly(&work, &waiting, offset, concluded).await;
        // The next record of its key, or one that the bound held up.
        work.pool.offer(&work, &waiting);
    });
}

/// Calls the handler, and hands over what it returns.
async fn call<H: Handler>(
    prepared: &Prepared,
    work: &ListenerWork,
    site: &Site,
    ticket: &Ticket,
    pass: &mut Option<Pass>,
) -> Next {
    let outbox = work.onward.as_ref().map(|onward| Outbox::new(onward.to));
    let delivery = match delivery(work, site, ticket) {
        Ok(delivery) => Delivery { outbox: outbox.as_ref(), ..delivery },
        Err(next) => return next,
    };
    if !wanted(|| H::keeps(&delivery)) {
        site.shared.add(Counts { filtered: 1, ..Counts::default() });
        return Next::Settled;
    }
    // Tries in place are not limited.
    if let Some(pass) = pass.as_mut().filter(|_| ticket.taken.attempt == 1) {
        pass.spend(1);
    }
    let handled =
        caught(|| H::call(prepared, &delivery), |failure| failure, || {}, work.settings.handler_timeout)
            .await;
    let sent = match (handled, &work.onward, &outbox) {
        (Ok(()), Some(onward), Some(outbox)) => {
            let returned = outbox.take().into_iter().flat_map(|returned| returned.records);
            onward.send(returned.collect()).await
        }
        (handled, ..) => handled.map(|()| Vec::new()),
    };
    match sent {
        Ok(arrivals) if arrivals.is_empty() => {
            went_well(work, pass.as_mut());
            Next::Handled
        }
        Ok(arrivals) => Next::Open(Open::Sent(arrivals)),
        Err(failure) => {
            let since = ticket.failed.unwrap_or_else(Instant::now);
            match work.recovery.is_to_be_written(&failure, ticket.taken.attempt, since) {
                true => Next::Open(Open::Failed(failure)),
                false => resolve(work, site, delivery, &failure, (ticket.failed, pass.as_mut())).await,
            }
        }
    }
}

/// The ticket's record.
fn delivery<'r>(work: &ListenerWork, site: &Site, ticket: &'r Ticket) -> Result<Delivery<'r>, Next> {
    let (partition, batch) = (site.shared.partition, &*ticket.item.batch);
    let Taken { offset, attempt } = ticket.taken;
    let record = batch.batch().record_at(ticket.item.position);
    let record = record.map_err(|error| Next::Stop(format!("{partition} at offset {offset}: {error}")))?;
    Ok(Delivery { record, batch, partition, listener: work.id, attempt, acks: None, outbox: None, tx: None })
}

/// Waits for what brokers say of the record; its worker is at other records.
async fn conclude(work: &ListenerWork, site: &Site, ticket: Ticket, mut pass: Option<Pass>, open: Open) {
    let concluded = async {
        let failure = match open {
            Open::Sent(arrivals) => arrived(arrivals).await.err().map(HandlerError::into_failure),
            Open::Failed(failure) => Some(failure),
        };
        match (failure, delivery(work, site, &ticket)) {
            (None, _) => {
                went_well(work, pass.as_mut());
                Next::Handled
            }
            (Some(failure), Ok(delivery)) => {
                resolve(work, site, delivery, &failure, (ticket.failed, pass.as_mut())).await
            }
            (Some(_), Err(next)) => next,
        }
    };
    let next = tokio::select! {
        biased;
        next = concluded => next,
        () = site.desk.aborted() => return,
    };
    settle(site, &ticket, next);
}

/// What is done for one record. A bug of this library stops the partition there, as visibly as in its loop; workers go on.
async fn visibly(work: &ListenerWork, site: &Site, offset: i64, done: Pin<&mut impl Future<Output = ()>>) {
    if AssertUnwindSafe(done).catch_unwind().await.is_ok() {
        return;
    }
    let (listener, partition) = (work.id, site.shared.partition);
    error!(listener, %partition, offset, "partition stopped: what works on its records panicked, which is a bug; its offset stays, other partitions go on");
    let cause = format!("{partition} at offset {offset}: what works on it panicked, which is a bug");
    if site.desk.stop_at(offset, cause) {
        site.shared.wake();
    }
}

/// Tells the desk, and the partition's loop if that has something to look at.
fn settle(site: &Site, ticket: &Ticket, next: Next) {
    let offset = ticket.taken.offset;
    let handled = u64::from(matches!(next, Next::Handled));
    let told = match next {
        Next::Handled | Next::Settled | Next::Open(_) => {
            let told = site.desk.finish(offset);
            site.shared.add(Counts { handled, ..Counts::default() });
            if ticket.taken.attempt > 1 && site.desk.is_calm() {
                site.shared.set_cause(None);
            }
            told
        }
        Next::Retry(wait, cause) => {
            let now = Instant::now();
            site.desk.park(offset, now + wait, now, cause)
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
        let is_probe = pass.as_ref().is_some_and(|pass| pass.is_probe());
        if let Fate::Again(opened) = flow.failed(work.recovery.may_pass(failure), is_probe).await {
            let _ = pass.map(Pass::settled);
            tell_open(work, site, &failed, failure, opened);
            return Next::Again;
        }
    }
    match work.recovery.resolve(&failed, failure, &site.shared).await {
        Resolution::Retry(wait) => Next::Retry(wait, format!("{}: {}", failed.at(), told(failure))),
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

/// The circuit is open, or something is down: the record waits with all others.
fn tell_open(
    work: &ListenerWork,
    site: &Site,
    failed: &Failed<'_>,
    failure: &Failure,
    opened: Option<Duration>,
) {
    let (listener, record, cause) = (work.id, failed.at(), told(failure));
    site.shared.add(Counts { failed: 1, ..Counts::default() });
    site.shared.set_cause(work.flow.as_ref().map(|flow| flow.held_up_since(record, &cause)));
    if let Some(pause) = opened {
        warn!(listener, %record, ?pause, cause, "the circuit is open: the listener pauses, then probes with one record");
        work.events.emit(listener, || EventKind::CircuitOpened { pause, cause });
    }
}
