//! The membership of one group as a pure state machine: inputs in, effects out. No clock, no chance, no I/O: the time
//! and a random number come with each input.
//!
//! ```text
//!                 ┌───────────────────────────── a round failed ──────────────────────────┐
//!                 ▼                                                                       │
//!   Waiting ── Joining ── Leading (the leader looks topics up) ── Syncing ── Stable ──────┤
//!    ▲            ▲          └────────────── a follower ─────────────▲        ▲ │         │
//!    │            │                                                           │ │ rebalance, or the
//!    │            └──── GivingBack (heartbeats go on, until done or too late) │◀┘ assignment takes something away
//!    │                                                                        │
//!    └── the group went on without it ── Asking (its session is over) ────────┘ the coordinator was away itself
//! ```
//!
//! *Eager* members give everything back before they join. *Cooperative* ones join with what they hold, and give back
//! afterwards what the new assignment does not have any more, and join once more.
//!
//! What a member holds ends in exactly one way: given back (`Revoked`, and done in time), or `Lost`: the coordinator
//! does not know the member any more, no heartbeat was acknowledged for a session timeout, or giving back took too
//! long.
//!
//! Who heard nothing for a session has lost everything, and asks whether that was needed: a group whose coordinator was away
//! has not gone on, and then the member is assigned the same again, without a round.

mod beat;
mod interest;
mod io;
mod round;

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use kafka_protocol::ResponseError;
use tokio::time::Instant;

use super::Identity;
use super::assignor::{GroupMember, Memory, RebalanceProtocol};
use super::retry::Failures;
use crate::cluster::ClusterMetadata;
use crate::config::{Assignor, Backoff, GroupConfig};
use crate::error::{At, Error};
use crate::ids::{TopicName, TopicPartition};
use beat::Beat;
use interest::Counts;
pub(super) use interest::Interest;
pub(super) use io::{Effect, Input, JoinAnswer, Joined, JoinedMember, Moment, Role};

/// What does not change.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) group: GroupConfig,
    pub(super) interest: Interest,
    /// `client.rack`
    pub(super) rack: Option<String>,
    pub(super) retry: Backoff,
}

/// Where the member is.
#[derive(Debug)]
enum Phase {
    /// Outside, or between two attempts; joins `at` then, or when there is a picture.
    Waiting {
        at: Option<Instant>,
    },
    /// The consumer gives these back; then the member joins.
    GivingBack {
        round: u64,
        partitions: Vec<TopicPartition>,
        deadline: Instant,
    },
    /// JoinGroup is under way.
    Joining,
    /// The leader waits for a picture.
    Leading {
        assignor: Assignor,
        members: Vec<GroupMember>,
        skip_assignment: bool,
    },
    /// SyncGroup is under way.
    Syncing {
        assignor: Assignor,
    },
    Stable {
        assignor: Assignor,
    },
    /// Its session ended without an answer. It holds nothing, and asks whether the group went on.
    Asking(Before),
    /// LeaveGroup is under way.
    Leaving,
    Ended,
}

/// What a member was until its session ended.
#[derive(Debug)]
struct Before {
    stamp: Identity,
    assignor: Assignor,
    led: Option<Counts>,
}

/// The member.
#[derive(Debug)]
pub(super) struct Machine {
    settings: Settings,
    protocol: RebalanceProtocol,
    picture: Option<Arc<ClusterMetadata>>,
    /// What requests are stamped with. Commits follow when a round is complete.
    stamp: Identity,
    phase: Phase,
    /// Assigned, and neither given back nor lost.
    held: BTreeSet<TopicPartition>,
    /// Counts the attempts to join; an answer to an earlier one means nothing.
    attempt: u64,
    /// Counts the revocations.
    round: u64,
    /// Rounds that failed one after the other.
    failures: Failures,
    beat: Beat,
    /// What assignors remember of the last assignment they made.
    memory: HashMap<Assignor, Memory>,
    /// The topics of the last subscription.
    subscribed: Vec<TopicName>,
    /// What the leader's assignment was made from. A change means another round.
    led: Option<Counts>,
    reason: &'static str,
    effects: Vec<Effect>,
}

impl Machine {
    /// A member that joins at its first [`Input::Wake`], or [`Input::Picture`] if it has a pattern.
    pub(super) fn new(settings: Settings, now: Instant) -> Self {
        let at = match settings.interest {
            Interest::Topics(_) => Some(now),
            Interest::Pattern(_) => None,
        };
        Self {
            protocol: RebalanceProtocol::of(&settings.group.assignors),
            picture: None,
            stamp: Identity::none(),
            phase: Phase::Waiting { at },
            held: BTreeSet::new(),
            attempt: 0,
            round: 0,
            failures: Failures::default(),
            beat: Beat::new(now),
            memory: HashMap::new(),
            subscribed: Vec::new(),
            led: None,
            reason: "the member starts",
            effects: Vec::new(),
            settings,
        }
    }

    /// Takes an input and says what is to be done.
    pub(super) fn handle(&mut self, at: Moment, input: Input) -> Vec<Effect> {
        match (input, &self.phase) {
            (Input::Left, _) => self.phase = Phase::Ended,
            (_, Phase::Leaving | Phase::Ended) => {}
            (Input::Leave { goodbye }, _) => self.leave(goodbye),
            (Input::Picture(picture), _) => self.see(at, picture),
            (Input::Joined { attempt, answer }, Phase::Joining) if attempt == self.attempt => {
                self.joined(at, answer);
            }
            (Input::LookedUp { attempt }, Phase::Leading { .. }) if attempt == self.attempt => self.lead(at),
            (Input::Synced { attempt, sent, answer }, Phase::Syncing { assignor })
                if attempt == self.attempt =>
            {
                let assignor = *assignor;
                self.synced(at, assignor, sent, answer);
            }
            (Input::GivenBack { round: done }, Phase::GivingBack { round, .. }) if done == *round => {
                self.given_back(at);
            }
            (Input::Beaten { stamp, sent, answer }, _) => self.beaten(at, &stamp, sent, answer),
            (Input::Asked { stamp, sent, answer }, Phase::Asking(_)) => self.asked(at, &stamp, sent, answer),
            (Input::Vacant(then), _) => self.vacant(at.now, then),
            (Input::Doubt, _) => self.beat.hurry(self.settings.retry.initial),
            // Answers of attempts that are given up.
            (
                Input::Joined { .. }
                | Input::LookedUp { .. }
                | Input::Synced { .. }
                | Input::Asked { .. }
                | Input::GivenBack { .. },
                _,
            ) => {}
            (Input::Wake, _) => {}
        }
        self.look_at_the_clock(at);
        std::mem::take(&mut self.effects)
    }

    /// When [`Input::Wake`] is due; nothing while only answers are waited for.
    pub(super) fn wakes_at(&self) -> Option<Instant> {
        let phase = match &self.phase {
            Phase::Waiting { at } => *at,
            Phase::GivingBack { deadline, .. } => Some(*deadline),
            Phase::Leaving | Phase::Ended => return None,
            Phase::Joining
            | Phase::Leading { .. }
            | Phase::Syncing { .. }
            | Phase::Stable { .. }
            | Phase::Asking(_) => None,
        };
        let lease = self.beat.lease.filter(|_| !self.held.is_empty());
        let beat = self.beat.due().filter(|_| self.beats());
        [phase, lease, beat].into_iter().flatten().min()
    }

    /// Whether there is a picture yet: of all topics, for a pattern.
    pub(super) fn has_picture(&self) -> bool {
        self.picture.is_some()
    }

    pub(super) fn has_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended)
    }

    /// What is due by now.
    fn look_at_the_clock(&mut self, at: Moment) {
        if self.beat.has_expired(at.now) && !self.held.is_empty() {
            self.expired(at);
        }
        match &self.phase {
            Phase::Waiting { at: Some(due) } if *due <= at.now => self.join(),
            Phase::GivingBack { deadline, .. } if *deadline <= at.now => self.given_back_too_late(at),
            _ => {}
        }
        if self.beats() && self.beat.is_due(at.now) {
            self.beat.sent(at.now, self.settings.group.heartbeat_interval);
            self.effects.push(match &self.phase {
                Phase::Asking(Before { stamp, assignor, .. }) => {
                    Effect::Ask { stamp: stamp.clone(), assignor: *assignor }
                }
                _ => Effect::Beat { stamp: self.stamp.clone() },
            });
        }
    }

    fn see(&mut self, at: Moment, picture: Arc<ClusterMetadata>) {
        self.picture = Some(picture);
        match self.phase {
            Phase::Waiting { at: None } => self.phase = Phase::Waiting { at: Some(at.now) },
            // One whose session may have ended must not claim what it had.
            Phase::Stable { .. } if !self.beat.has_expired(at.now) => self.rejoin_if_changed(at),
            _ => {}
        }
    }

    fn leave(&mut self, goodbye: bool) {
        self.held.clear();
        let member_id = std::mem::take(&mut self.stamp).member_id;
        self.effects.push(Effect::LeaseEnds);
        self.effects.push(Effect::Identity(Identity::none()));
        self.phase = match goodbye && !member_id.is_empty() {
            true => {
                self.effects.push(Effect::Goodbye { member_id });
                Phase::Leaving
            }
            false => Phase::Ended,
        };
    }

    /// All that is held is gone, and so is the generation; the id too, unless it is kept.
    fn lose(&mut self, keep_id: bool) {
        let member_id = std::mem::take(&mut self.stamp.member_id);
        self.stamp = Identity { member_id: if keep_id { member_id } else { String::new() }, generation: -1 };
        self.beat.forget();
        self.led = None;
        self.effects.push(Effect::LeaseEnds);
        let gone = std::mem::take(&mut self.held);
        if !gone.is_empty() {
            self.effects.push(Effect::Lost(gone.into_iter().collect()));
        }
        // A commit that waits for another stamp should find that it has nothing to commit any more.
        self.effects.push(Effect::Identity(self.stamp.clone()));
    }

    /// The membership cannot go on.
    fn fail(&mut self, error: Error) {
        self.lose(false);
        self.phase = Phase::Ended;
        self.effects.push(Effect::Fatal(error));
    }

    /// An error of this group without a request of its own.
    fn malformed(&self, api: &'static str, who: &str, reason: &dyn std::fmt::Display) -> Error {
        let broker = format!("{who} of {}", At::Group(self.settings.group.group_id.clone()));
        Error::Malformed { api, broker, reason: reason.to_string() }
    }
}

/// Whether a failure ends the membership: nothing that waiting would cure.
fn is_fatal(error: &Error) -> bool {
    use ResponseError as E;
    match error {
        Error::Broker { code, .. } => matches!(
            code,
            E::FencedInstanceId
                | E::InconsistentGroupProtocol
                | E::InvalidSessionTimeout
                | E::InvalidGroupId
                | E::GroupAuthorizationFailed
                | E::GroupMaxSizeReached
                | E::UnsupportedVersion
        ),
        // A request that cannot be written: `group.instance.id` on a broker before Kafka 2.3.
        Error::Config(_) => true,
        _ => false,
    }
}
