//! Who may read from which replica (KIP-392), and what is told of the leader (KIP-951).

use kafka_protocol::ResponseError;

use super::super::{check_leader, check_replica};
use crate::server::connection::Context;
use crate::topics::PartitionState;

/// Consumers may read from followers from this version on.
const FROM_FOLLOWERS: i16 = 11;

/// Whether this broker may be read from: as the leader, or as any replica by clients that know of that (KIP-392).
pub(super) fn check_reader(
    context: &Context,
    state: &PartitionState,
    epoch: i32,
) -> Result<(), ResponseError> {
    if context.version >= FROM_FOLLOWERS {
        check_replica(context, state, epoch)
    } else {
        check_leader(context, state, epoch)
    }
}

/// What is told of the leader with an error (KIP-951).
pub(super) fn leader_hint(state: &PartitionState, error: ResponseError) -> Option<(i32, i32)> {
    let moved = matches!(error, ResponseError::NotLeaderOrFollower | ResponseError::FencedLeaderEpoch);
    moved.then(|| (state.replicas.leader(), state.replicas.epoch()))
}

/// The replica that a client in `rack` should read from instead of this leader (KIP-392).
pub(super) fn nearer(context: &Context, state: &PartitionState, rack: &str) -> Option<i32> {
    let cluster = &context.cluster;
    if !cluster.settings.rack_aware_reads || rack.is_empty() || state.replicas.leader() != context.node {
        return None;
    }
    let is_there = |id: &i32| cluster.live_node(*id).is_some_and(|node| node.rack.as_deref() == Some(rack));
    let mut there = state.replicas.in_sync().iter().copied().filter(is_there).peekable();
    let nearest = there.peek().copied()?;
    (!there.any(|id| id == context.node)).then_some(nearest)
}
