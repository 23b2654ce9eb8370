//! The membership of one group by the consumer protocol (KIP-848), beside the classic one: a pure state machine, and
//! its driver.
//!
//! ```text
//!               joined                       told to give back
//!   Outside ──▶ Joining ──▶ Member ─────────────────────────────▶ Member, giving back ──┐
//!     ▲  ▲                  ▲ ▲ │                                                       │ given back: the next
//!     │  │                  │ │ │ unknown, fenced, session over: all is lost            │ heartbeat says so
//!     │  ├──── Parting ◀────┼─┼─┤                                                       │
//!     │  │    (says goodbye)└─┼─┼───────────────────────────────────────────────────────┘
//!     │  └──── Asking ────────┘ │ session over: was the coordinator away itself?
//!     │           ▲─────────────┘
//!     └─ Releasing (a static member's predecessor never said goodbye)
//! ```
//!
//! There are no rounds. Each heartbeat tells the coordinator what the member has, if that has changed, and is answered
//! with what it is to have, if that has changed. A partition is the member's own from the answer that names it until
//! the heartbeat that does not name it any more, so there is nothing to join for, and nobody leads.
//!
//! What a member holds ends as in the classic machine, in exactly one way: given back (`Revoked`, and done in time), or
//! `Lost`.

mod accept;
mod beat;
mod driver;
mod io;
mod requests;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::ResponseError;
use tokio::time::Instant;

use super::membership::{Interest, Moment};
use super::retry::Failures;
use super::{Identity, Leave};
use crate::cluster::ClusterMetadata;
use crate::config::{Backoff, GroupConfig};
use crate::error::{At, Error};
use crate::ids::{TopicName, TopicPartition};
use beat::Beat;
pub(super) use driver::Starting;
use io::{Answer, Effect, Input, Report};
pub(super) use requests::Speaker;

/// The epoch of somebody who joins.
const JOIN: i32 = 0;
/// The epoch of somebody who leaves.
const LEAVE: i32 = -1;
/// The epoch of a static member that leaves and will be back.
const LEAVE_FOR_A_WHILE: i32 = -2;

/// What does not change.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) group: GroupConfig,
    pub(super) interest: Interest,
    pub(super) retry: Backoff,
}

/// Where the member is.
#[derive(Debug)]
enum Phase {
    /// Outside; joins then, or when there is a picture.
    Outside {
        at: Option<Instant>,
    },
    /// The first heartbeat is under way.
    Joining,
    Member,
    /// Its session ended without an answer. It holds nothing, and asks by heartbeats of the epoch that it had, which say
    /// so, what it is to have: a coordinator that was away itself still counts on it.
    Asking {
        epoch: i32,
    },
    /// It says goodbye before it joins again: the coordinator may believe that it is still there.
    Parting,
    /// It sends away who has its `group.instance.id`.
    Releasing,
    Leaving,
    Ended,
}

/// Partitions on their way back.
#[derive(Debug)]
struct GivingBack {
    round: u64,
    partitions: Vec<TopicPartition>,
    deadline: Instant,
}

/// What the coordinator surely knows.
#[derive(Debug, Default)]
struct Known {
    topics: Option<Vec<TopicName>>,
    held: Option<BTreeMap<TopicPartition, u128>>,
}

/// The member.
#[derive(Debug)]
pub(super) struct Machine {
    settings: Settings,
    picture: Option<Arc<ClusterMetadata>>,
    /// What requests and commits are stamped with; the generation is the member's epoch.
    stamp: Identity,
    phase: Phase,
    /// Assigned, and neither given back nor lost, with the ids of their topics.
    held: BTreeMap<TopicPartition, u128>,
    /// What the coordinator told last, by topic id.
    told: Vec<(u128, i32)>,
    /// Some of that is of topics whose names are not known.
    nameless: bool,
    giving_back: Option<GivingBack>,
    /// Counts the revocations.
    round: u64,
    known: Known,
    /// The coordinator may not know what the last heartbeat said, nor the member what it was answered.
    unsure: bool,
    /// Attempts to join that failed one after the other.
    failures: Failures,
    beat: Beat,
    effects: Vec<Effect>,
}

impl Machine {
    /// A member that joins at its first [`Input::Wake`], or [`Input::Picture`] if it has a pattern.
    /// It has chosen its id itself (KIP-1082).
    pub(super) fn new(settings: Settings, member_id: String, now: Instant) -> Self {
        let at = match settings.interest {
            Interest::Topics(_) => Some(now),
            Interest::Pattern(_) => None,
        };
        let beat = Beat::new(now, settings.group.session_timeout);
        Self {
            picture: None,
            stamp: Identity { member_id, generation: -1 },
            phase: Phase::Outside { at },
            held: BTreeMap::new(),
            told: Vec::new(),
            nameless: false,
            giving_back: None,
            round: 0,
            known: Known::default(),
            unsure: false,
            failures: Failures::default(),
            beat,
            effects: Vec::new(),
            settings,
        }
    }

    /// Takes an input and says what is to be done.
    fn handle(&mut self, at: Moment, input: Input) -> Vec<Effect> {
        match (input, &self.phase) {
            (Input::Left, _) => self.phase = Phase::Ended,
            (_, Phase::Leaving | Phase::Ended) => {}
            (Input::Leave(leave), _) => self.leave(leave),
            (Input::Picture(picture), _) => self.see(at, picture),
            (Input::Beaten { turn, sent, answer }, _) => self.beaten(at, turn, sent, answer),
            (Input::Parted, Phase::Parting) => self.again(at),
            (Input::Released(released), Phase::Releasing) => self.released(at, released),
            (Input::Session(session), _) => {
                self.beat.set_session(session);
                self.effects.extend(self.beat.lease.map(Effect::Lease));
            }
            (Input::Vacant(then), _) => self.vacant(at.now, then),
            (Input::GivenBack { round }, _) => self.given_back(at, round),
            (Input::Doubt, _) => self.beat.hurry(self.settings.retry.initial),
            // What was begun before all was lost.
            (Input::Parted | Input::Released(_), _) | (Input::Wake, _) => {}
        }
        self.look_at_the_clock(at);
        std::mem::take(&mut self.effects)
    }

    /// When [`Input::Wake`] is due; nothing while only answers are waited for.
    fn wakes_at(&self) -> Option<Instant> {
        let phase = match &self.phase {
            Phase::Outside { at } => *at,
            Phase::Member | Phase::Asking { .. } => self.beat.due(),
            Phase::Leaving | Phase::Ended => return None,
            Phase::Joining | Phase::Parting | Phase::Releasing => None,
        };
        let lease = self.beat.lease.filter(|_| self.stamp.is_member());
        let deadline = self.giving_back.as_ref().map(|giving| giving.deadline);
        [phase, lease, deadline].into_iter().flatten().min()
    }

    /// Whether there is a picture yet: of all topics, for a pattern.
    fn has_picture(&self) -> bool {
        self.picture.is_some()
    }

    /// The coordinator's session timeout, as far as it is known.
    fn session(&self) -> Duration {
        self.beat.session
    }

    fn has_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended)
    }

    /// What is due by now.
    fn look_at_the_clock(&mut self, at: Moment) {
        if self.stamp.is_member() && self.beat.has_expired(at.now) {
            self.expired(at.now);
        }
        if self.giving_back.as_ref().is_some_and(|giving| giving.deadline <= at.now) {
            self.given_back_too_late(at);
        }
        match &self.phase {
            Phase::Outside { at: Some(due) } if *due <= at.now => {
                self.phase = Phase::Joining;
                self.send(at.now);
            }
            Phase::Member | Phase::Asking { .. } if self.beat.due().is_some_and(|due| due <= at.now) => {
                self.send(at.now)
            }
            _ => {}
        }
    }

    fn see(&mut self, at: Moment, picture: Arc<ClusterMetadata>) {
        self.picture = Some(picture);
        match self.phase {
            Phase::Outside { at: None } => self.join_at(at.now),
            Phase::Member => {
                if self.known.topics.as_ref().is_some_and(|known| *known != self.wanted()) {
                    self.beat.hurry(Duration::ZERO);
                }
                // It may name what could not be named before.
                self.settle(at.now);
            }
            _ => {}
        }
    }

    fn leave(&mut self, leave: Leave) {
        let epoch = match leave {
            Leave::Never => None,
            Leave::Default => Some(self.parting_epoch()),
            Leave::Always => Some(LEAVE),
        };
        // A first heartbeat may have arrived though its answer did not.
        let may_be_there = !matches!(self.phase, Phase::Outside { .. });
        self.held.clear();
        self.giving_back = None;
        self.effects.push(Effect::LeaseEnds);
        self.effects.push(Effect::Identity(Identity::none()));
        self.phase = match epoch.filter(|_| may_be_there) {
            Some(epoch) => {
                self.effects.push(Effect::Goodbye { epoch });
                Phase::Leaving
            }
            None => Phase::Ended,
        };
    }

    /// How a member goes that wants to be back: a static one keeps its place.
    fn parting_epoch(&self) -> i32 {
        if self.settings.group.instance_id.is_some() { LEAVE_FOR_A_WHILE } else { LEAVE }
    }

    /// All that is held is gone, and so is the epoch.
    fn lose(&mut self) {
        self.stamp.generation = -1;
        self.beat.forget();
        self.told.clear();
        self.nameless = false;
        self.giving_back = None;
        self.known = Known::default();
        self.effects.push(Effect::LeaseEnds);
        let gone = std::mem::take(&mut self.held);
        if !gone.is_empty() {
            self.effects.push(Effect::Lost(gone.into_keys().collect()));
        }
        // A commit that waits for another stamp should find that it has nothing to commit any more.
        self.effects.push(Effect::Identity(self.stamp.clone()));
    }

    /// The coordinator may still count on the member: it says goodbye, so that nobody waits for its session to end.
    fn part(&mut self) {
        self.effects.push(Effect::Part { epoch: self.parting_epoch() });
        self.phase = Phase::Parting;
    }

    fn join_at(&mut self, at: Instant) {
        self.phase = Phase::Outside { at: Some(at) };
    }

    /// The membership cannot go on.
    fn fail(&mut self, error: Error) {
        self.lose();
        self.phase = Phase::Ended;
        self.effects.push(Effect::Fatal(error));
    }

    /// The topics wanted at the moment.
    fn wanted(&self) -> Vec<TopicName> {
        self.settings.interest.wanted(self.picture.as_deref())
    }

    fn at(&self) -> At {
        At::Group(self.settings.group.group_id.clone())
    }
}

/// Whether a failure ends the membership: nothing that waiting would cure.
fn is_fatal(error: &Error) -> bool {
    use ResponseError as E;
    match error {
        // A broker that does not know the protocol, or a request that cannot be written for it.
        Error::Config(_) | Error::Unsupported { .. } => true,
        error => error.code().is_some_and(|code| {
            matches!(
                code,
                E::FencedInstanceId
                    | E::InvalidRequest
                    | E::InvalidGroupId
                    | E::GroupAuthorizationFailed
                    | E::GroupMaxSizeReached
                    | E::UnsupportedAssignor
                    | E::UnsupportedVersion
            )
        }),
    }
}
