//! How a partition gets to be fetched, and what becomes of it when that fails; pure.
//!
//! ```text
//!              committed offset known                       leader, epoch confirmed
//!  Waiting ───────────────────────────▶ Ready ──(Validate)─────────────────────────▶ placed with a broker's loop
//!     │ none: reset policy                ▲ │ out of range, truncated, created again, seek
//!     ▼                                   │ ▼
//!  Looking ──(List)───────────────────────┘ Looking, or Failed: stands until a seek
//! ```
//!
//! The offset itself lies in the partition's slot; here is what must be asked next, of whom, and not before when.
//! Every request and every placement has a turn: an answer of an earlier one means nothing any more.

use tokio::time::Instant;

use kafka_protocol::ResponseError;

use super::reset::{Remedy, Target, Why, remedy};
use super::slot::Position;
use crate::config::OffsetReset;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Something else has to happen first (the committed offset be known, the start be committed).
    Waiting,
    /// The leader is to be asked for an offset.
    Looking { target: Target, why: Why },
    /// The position is known.
    Ready,
    /// Stands still until a seek.
    Failed,
}

/// A partition's leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Leader {
    pub(crate) broker: i32,
    pub(crate) epoch: i32,
}

/// Where a partition is fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) broker: i32,
    pub(crate) leader_epoch: i32,
    pub(crate) topic_id: u128,
}

/// What to do next for a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing, until something happens.
    Rest,
    /// Nothing before this moment.
    At(Instant),
    /// Nobody leads it, as far as is known: ask for metadata.
    Leaderless,
    /// Ask the leader for an offset.
    List { leader: Leader, target: Target },
    /// Ask the leader whether the position is still in its log.
    Validate { leader: Leader },
    /// Take it from one loop and give it to another, where there is one; or to the same one, anew.
    Move { from: Option<i32>, to: Option<Place> },
}

/// What a fetch that was refused leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It is tried again, after a back-off; with new metadata first, or without.
    Again(Remedy),
    /// A replica was behind or ahead: the leader is asked instead.
    ToLeader,
    /// The offset is not in the log; policy `none`.
    NoOffset,
    /// The offset is not in the log; another one is looked for.
    Reset,
    /// Nothing helps.
    GivenUp,
}

/// One partition's way to being fetched.
#[derive(Debug)]
pub(crate) struct Tracker {
    phase: Phase,
    leader: Option<Leader>,
    /// 0 while unknown.
    topic_id: u128,
    /// The leader epoch that last confirmed the position.
    confirmed: i32,
    /// A follower that the leader sends us to (KIP-392), and until when.
    replica: Option<(i32, Instant)>,
    placed: Option<Place>,
    /// The request or placement whose answers count; 0 is none.
    turn: u64,
    under_way: bool,
    tries: u32,
    not_before: Option<Instant>,
}

impl Tracker {
    /// A partition that waits for its committed offset.
    pub(crate) fn waiting() -> Self {
        Self {
            phase: Phase::Waiting,
            leader: None,
            topic_id: 0,
            confirmed: -1,
            replica: None,
            placed: None,
            turn: 0,
            under_way: false,
            tries: 0,
            not_before: None,
        }
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.turn = 0;
        self.under_way = false;
        self.tries = 0;
        self.not_before = None;
    }

    /// Does nothing by itself from here on.
    pub(crate) fn wait(&mut self) {
        self.enter(Phase::Waiting);
    }

    /// Stands still from here on.
    pub(crate) fn fail(&mut self) {
        self.enter(Phase::Failed);
    }

    pub(crate) fn look_for(&mut self, target: Target, why: Why) {
        self.enter(Phase::Looking { target, why });
    }

    /// The position is known and may be fetched.
    pub(crate) fn ready(&mut self) {
        self.enter(Phase::Ready);
    }

    /// Why an offset is looked for, while it is.
    pub(crate) fn looking_because(&self) -> Option<Why> {
        match self.phase {
            Phase::Looking { why, .. } => Some(why),
            _ => None,
        }
    }

    /// Something is asked for it elsewhere, as `turn`.
    pub(crate) fn asked_as(&mut self, turn: u64) {
        (self.turn, self.under_way) = (turn, true);
    }

    /// The request or placement whose answers count.
    pub(crate) fn turn(&self) -> u64 {
        self.turn
    }

    /// A loop gave it back: the broker in whose loop it was.
    pub(crate) fn taken_back(&mut self) -> Option<i32> {
        self.turn = 0;
        self.placed.take().map(|place| place.broker)
    }

    /// The broker in whose loop it is.
    pub(crate) fn placed_with(&self) -> Option<i32> {
        self.placed.map(|place| place.broker)
    }

    /// Whether it is read from this follower.
    pub(crate) fn reads_from(&self, follower: i32) -> bool {
        self.replica.is_some_and(|(broker, _)| broker == follower)
    }

    /// Whether answers of this turn count.
    pub(crate) fn is_turn(&self, turn: u64) -> bool {
        turn != 0 && self.turn == turn
    }

    /// The step is done: a request is under way, or the partition was placed, as `turn`.
    pub(crate) fn took(&mut self, step: Step, turn: u64) {
        match step {
            Step::List { .. } | Step::Validate { .. } => (self.turn, self.under_way) = (turn, true),
            Step::Move { to: Some(place), .. } => (self.turn, self.placed) = (turn, Some(place)),
            // What is asked for it meanwhile goes on.
            Step::Move { to: None, .. } => self.placed = None,
            Step::Rest | Step::At(_) | Step::Leaderless => {}
        }
    }

    /// The request failed, or the loop gave it back: not again before `moment`.
    pub(crate) fn again_at(&mut self, moment: Instant) {
        self.turn = 0;
        self.under_way = false;
        self.placed = None;
        self.tries += 1;
        self.not_before = Some(moment);
    }

    /// How often in a row it failed.
    pub(crate) fn tries(&self) -> u32 {
        self.tries
    }

    /// What the cluster says of the partition now; `true` if it belongs to another topic of the same name than
    /// before.
    pub(crate) fn saw(&mut self, leader: Option<Leader>, topic_id: u128) -> bool {
        let recreated = topic_id != 0 && self.topic_id != 0 && topic_id != self.topic_id;
        if topic_id != 0 {
            self.topic_id = topic_id;
        }
        if recreated {
            (self.leader, self.confirmed, self.replica) = (leader, -1, None);
            return true;
        }
        match (self.leader, leader) {
            // A broker that lags behind told of an earlier leader.
            (Some(known), Some(told)) if told.epoch >= 0 && told.epoch < known.epoch => {}
            _ => {
                if leader.is_some() && leader != self.leader {
                    (self.tries, self.not_before, self.replica) = (0, None, None);
                }
                self.leader = leader;
            }
        }
        false
    }

    /// What is to be done now, with the position at `position`.
    pub(crate) fn step(&self, now: Instant, position: Position) -> Step {
        let wanted = self.wanted_place(now, position);
        // A placement of before the last change of phase does not count, even at the same place.
        if self.placed != wanted || (wanted.is_some() && self.turn == 0) {
            return Step::Move { from: self.placed.map(|place| place.broker), to: wanted };
        }
        if self.under_way || wanted.is_some() || matches!(self.phase, Phase::Waiting | Phase::Failed) {
            return Step::Rest;
        }
        match (self.not_before, self.leader, self.phase) {
            (Some(moment), _, _) if moment > now => Step::At(moment),
            (_, None, _) => Step::Leaderless,
            (_, Some(leader), Phase::Looking { target, .. }) => Step::List { leader, target },
            (_, Some(leader), _) => Step::Validate { leader },
        }
    }

    fn wanted_place(&self, now: Instant, position: Position) -> Option<Place> {
        if self.phase != Phase::Ready || self.not_before.is_some_and(|moment| moment > now) {
            return None;
        }
        let leader = self.leader.filter(|leader| !self.is_doubtful(*leader, position))?;
        let replica = self.replica.filter(|(_, until)| *until > now).map(|(broker, _)| broker);
        Some(Place {
            broker: replica.unwrap_or(leader.broker),
            leader_epoch: leader.epoch,
            topic_id: self.topic_id,
        })
    }

    /// Whether the leader may have another log than the one that was read so far: it leads in a later epoch than
    /// that of the last record, and did not confirm the position yet.
    fn is_doubtful(&self, leader: Leader, position: Position) -> bool {
        position.leader_epoch >= 0 && position.leader_epoch < leader.epoch && self.confirmed < leader.epoch
    }

    /// The leader confirmed the position, or told the offset, in the epoch that it was asked in.
    pub(crate) fn confirm(&mut self, leader_epoch: i32) {
        self.confirmed = self.confirmed.max(leader_epoch);
        self.ready();
    }

    /// The leader sends us to a follower.
    pub(crate) fn redirect(&mut self, broker: i32, until: Instant) {
        self.replica = Some((broker, until));
    }

    /// Back to the leader; `true` if a follower was read.
    pub(crate) fn leave_replica(&mut self) -> bool {
        self.replica.take().is_some()
    }

    /// A loop gave the partition back, with the broker's error for offset `asked`.
    pub(crate) fn refused(
        &mut self,
        code: ResponseError,
        asked: i64,
        policy: OffsetReset,
        now_millis: i64,
    ) -> Refused {
        let from_replica = self.leave_replica();
        match (code, remedy(code)) {
            (ResponseError::OffsetOutOfRange, _) if from_replica => Refused::ToLeader,
            (ResponseError::OffsetOutOfRange, _) => match Target::of_policy(policy, now_millis) {
                Some(target) => {
                    self.look_for(target, Why::OutOfRange { from: asked });
                    Refused::Reset
                }
                None => {
                    self.fail();
                    Refused::NoOffset
                }
            },
            (_, Remedy::GiveUp) => {
                self.fail();
                Refused::GivenUp
            }
            (_, remedy) => Refused::Again(remedy),
        }
    }
}

#[cfg(test)]
mod tests;
