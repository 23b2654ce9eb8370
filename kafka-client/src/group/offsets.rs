//! Committed offsets: read with retries that never mistake trouble for "none", written in one stamped request.

use std::collections::HashMap;
use std::time::Duration;

use kafka_protocol::ResponseError;

use super::{CommittedOffset, Coordinator, Identity};
use crate::error::Result;
use crate::ids::TopicPartition;

/// What the group committed for each of `partitions`; `Ok(None)` means that it never did (or that it expired), and
/// nothing else means that. Offsets of open transactions are waited for (`require_stable`).
///
/// Everything that can pass by itself (no broker, NOT_COORDINATOR, COORDINATOR_LOAD_IN_PROGRESS,
/// UNSTABLE_OFFSET_COMMIT...) is tried again with back-off until `deadline` from now. Every partition asked for is in
/// the answer; one that is still unstable at the deadline, or refused, has its own error. The future may be dropped.
///
/// # Errors
/// The last failure at the deadline, if it concerned all partitions; at once one that does not pass
/// (GROUP_AUTHORIZATION_FAILED).
pub(crate) async fn fetch_committed(
    coordinator: &Coordinator,
    partitions: &[TopicPartition],
    deadline: Duration,
) -> Result<HashMap<TopicPartition, Result<Option<CommittedOffset>, ResponseError>>> {
    let _ = (coordinator, partitions, deadline);
    todo!()
}

/// One OffsetCommit request, stamped with `identity` (`Identity::none()` for a reader of fixed partitions); never
/// repeated here. The answer is for each partition `None` or why it was refused; the coordinator is forgotten if that
/// says so. An empty `offsets` asks nothing.
///
/// # Errors
/// No answer (it may have been committed all the same).
pub(crate) async fn commit(
    coordinator: &Coordinator,
    identity: &Identity,
    instance_id: Option<&str>,
    offsets: &[(TopicPartition, CommittedOffset)],
) -> Result<Vec<(TopicPartition, Option<ResponseError>)>> {
    let _ = (coordinator, identity, instance_id, offsets);
    todo!()
}
