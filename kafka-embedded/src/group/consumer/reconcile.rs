//! A member's next step from what it has to what it should have.

use tokio::time::Instant;

use super::super::member::MemberId;
use super::member::Reconciliation;
use super::{ConsumerGroup, Member, Partitions};

/// What a member is to become.
#[derive(Debug)]
struct Step {
    state: Reconciliation,
    epoch: i32,
    assigned: Partitions,
    revoking: Partitions,
}

impl ConsumerGroup {
    /// Leads a member one step on; `owned` is what it says it has, where it says so.
    pub(super) fn reconcile(&mut self, now: Instant, id: &MemberId, owned: Option<&Partitions>) {
        let Some(member) = self.members.get(id) else { return };
        let epoch = match member.state {
            Reconciliation::Stable if member.epoch == self.assignment_epoch => return,
            Reconciliation::Stable | Reconciliation::Unreleased => member.epoch,
            Reconciliation::Unrevoked if still_has(owned, &member.revoking) => return,
            Reconciliation::Unrevoked => member.epoch + 1,
        };
        let step = self.next_step(id, member, epoch, owned);
        self.take(now, id, step);
    }

    fn next_step(&self, id: &MemberId, member: &Member, epoch: i32, owned: Option<&Partitions>) -> Step {
        let nothing = Partitions::new();
        let target = self.targets.get(id).unwrap_or(&nothing);
        let kept: Partitions = member.assigned.intersection(target).copied().collect();
        let revoking: Partitions = member.assigned.difference(&kept).copied().collect();
        if !revoking.is_empty() && still_has(owned, &revoking) {
            return Step { state: Reconciliation::Unrevoked, epoch, assigned: kept, revoking };
        }
        let (taken, free): (Partitions, Partitions) =
            target.difference(&kept).copied().partition(|partition| self.owners.contains_key(partition));
        Step {
            state: if taken.is_empty() { Reconciliation::Stable } else { Reconciliation::Unreleased },
            epoch: self.assignment_epoch,
            assigned: kept.union(&free).copied().collect(),
            revoking: nothing,
        }
    }

    fn take(&mut self, now: Instant, id: &MemberId, step: Step) {
        let Some(member) = self.members.get_mut(id) else { return };
        for partition in member.assigned.iter().chain(&member.revoking) {
            self.owners.remove(partition);
        }
        for partition in step.assigned.iter().chain(&step.revoking) {
            self.owners.insert(*partition, id.clone());
        }
        member.revoke_until = match step.state {
            // Members of the classic protocol have other timers.
            Reconciliation::Unrevoked if member.guest.is_some() => None,
            Reconciliation::Unrevoked => Some(now + member.rebalance_timeout),
            Reconciliation::Stable | Reconciliation::Unreleased => None,
        };
        member.previous_epoch = member.epoch;
        member.epoch = step.epoch;
        member.state = step.state;
        member.assigned = step.assigned;
        member.revoking = step.revoking;
    }
}

/// Whether a member still has some of these, for all that is known.
fn still_has(owned: Option<&Partitions>, revoking: &Partitions) -> bool {
    owned.is_none_or(|owned| !owned.is_disjoint(revoking))
}
