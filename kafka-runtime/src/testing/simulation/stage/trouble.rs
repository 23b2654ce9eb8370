//! What goes wrong on a stage, done and healed.

use std::sync::Arc;
use std::time::Duration;

use kafka_embedded::{Api, On};
use tokio::time::sleep;

use super::super::line::State;
use super::super::plan::{Failing, Kind, Trouble};
use super::{Instance, Stage, lock};

/// How a broker is away.
#[derive(Debug, Clone, Copy)]
enum Absence {
    Stopped,
    CutOff,
    Killed,
}

impl Stage<'_> {
    fn pick(&self, who: usize) -> Option<usize> {
        (!self.instances.is_empty()).then(|| who % self.instances.len())
    }

    pub(super) async fn make(&mut self, trouble: Trouble) {
        match trouble {
            Trouble::Join if self.instances.len() < self.simulation.instances => self.join().await,
            Trouble::Join => {}
            Trouble::Leave(who) => self.leave(who),
            Trouble::Crash(who) => self.crash(who),
            Trouble::Silence(who, time) => self.silence(who, time),
            Trouble::Disconnect(who) => {
                if let Some(at) = self.pick(who) {
                    let Instance { number, line, .. } = &self.instances[at];
                    self.notes.tell(&format!("instance {number} loses its connections"));
                    line.reset();
                }
            }
            Trouble::Rebalance => {
                self.notes.tell("a rebalance is forced");
                self.broker.faults().force_rebalance(&self.simulation.group);
            }
            Trouble::Requests(kind, count, failing) => self.fail(kind, count, failing),
            Trouble::StopBroker(id, time) => self.take_away(id, time, Absence::Stopped).await,
            Trouble::CutOffBroker(id, time) => self.take_away(id, time, Absence::CutOff).await,
            Trouble::KillBroker(id, time) => self.take_away(id, time, Absence::Killed).await,
        }
    }

    fn leave(&mut self, who: usize) {
        let Some(at) = self.pick(who) else { return };
        let Instance { number, app, line } = self.instances.swap_remove(at);
        self.notes.tell(&format!("instance {number} stops"));
        let notes = Arc::clone(&self.notes);
        self.later.spawn(async move {
            let summary = app.stop().await;
            let clean = summary.as_ref().is_ok_and(|summary| summary.is_clean());
            notes.tell(&format!("instance {number} has stopped{}", if clean { "" } else { ", not cleanly" }));
            line.set(State::Dead);
        });
    }

    fn crash(&mut self, who: usize) {
        let Some(at) = self.pick(who) else { return };
        let Instance { number, app, line } = self.instances.swap_remove(at);
        self.notes.tell(&format!("instance {number} crashes"));
        line.set(State::Dead);
        drop(app);
    }

    fn silence(&mut self, who: usize, time: Duration) {
        let Some(at) = self.pick(who) else { return };
        let Instance { number, line, .. } = &self.instances[at];
        self.notes.tell(&format!("instance {number} is cut off for {time:?}"));
        line.set(State::Silent);
        let (line, notes, number) = (line.clone(), Arc::clone(&self.notes), *number);
        self.later.spawn(async move {
            sleep(time).await;
            notes.tell(&format!("instance {number} is back"));
            line.set(State::Up);
        });
    }

    fn fail(&self, kind: Kind, count: u64, failing: Failing) {
        self.notes.tell(&format!("the next {count} of {kind:?} fail: {failing:?}"));
        let on = self.on(kind).first(count);
        let _ = match failing {
            Failing::Answered(code) => on.answer(code),
            Failing::Unserved => on.close(),
            Failing::Unanswered => on.close_after(),
            Failing::Late(time) => on.delay_answer(time),
        };
    }

    fn on(&self, kind: Kind) -> On {
        let faults = self.broker.faults();
        match kind {
            Kind::Commit => faults
                .on(Api::OffsetCommit)
                .or(Api::InitProducerId)
                .or(Api::AddPartitionsToTxn)
                .or(Api::TxnOffsetCommit)
                .or(Api::EndTxn),
            Kind::Fetch => faults.on(Api::Fetch),
            Kind::Heartbeat => faults.on(Api::Heartbeat).or(Api::ConsumerGroupHeartbeat),
            Kind::Join => faults.on(Api::JoinGroup).or(Api::SyncGroup),
            Kind::OffsetFetch => faults.on(Api::OffsetFetch),
            Kind::Produce => faults.on(Api::Produce),
        }
    }

    /// A broker is gone for a while: others lead and coordinate, at once or when its session is over.
    async fn take_away(&mut self, id: i32, time: Duration, how: Absence) {
        if !lock(&self.away).insert(id) {
            return;
        }
        self.notes.tell(&format!("broker {id} is {how:?} for {time:?}"));
        let done = match how {
            Absence::Stopped => self.broker.stop_broker(id).await,
            Absence::CutOff => self.broker.cut_off_broker(id),
            Absence::Killed => self.broker.kill_broker(id).await,
        };
        done.unwrap_or_else(|error| panic!("broker {id}: {error}"));
        let (broker, away, notes) =
            (Arc::clone(&self.broker), Arc::clone(&self.away), Arc::clone(&self.notes));
        self.later.spawn(async move {
            sleep(time).await;
            notes.tell(&format!("broker {id} is back"));
            let back = match how {
                Absence::Stopped | Absence::Killed => broker.start_broker(id).await,
                Absence::CutOff => broker.reconnect_broker(id),
            };
            back.unwrap_or_else(|error| panic!("broker {id}: {error}"));
            lock(&away).remove(&id);
        });
    }

    /// Everything that is broken is mended, and somebody is there.
    pub(super) async fn heal(&mut self) {
        while self.later.join_next().await.is_some() {}
        self.broker.faults().clear();
        self.notes.tell("everything is healed");
        if self.instances.is_empty() {
            self.join().await;
        }
    }
}
