//! Faults on request: what goes wrong, when, and how often it did.
//!
//! ```text
//! Faults::on(Api) ── narrowed ──▶ On ── an effect ──▶ Rule, in the Registry ──▶ Fault (strikes, struck, release, remove)
//!                                                              │
//! server::dispatch: header, body ──▶ judge ──▶ Treatment: before, refusal, after ──▶ connection: delivery
//! ```
//!
//! - `on`: a sentence is begun and ended; `rule`: what it became, and when it strikes
//! - `treatment`: what is done to a request that was struck
//! - `subject`: what each API's requests name, and where its answers hold an error

mod on;
mod rule;
pub(crate) mod subject;
#[cfg(test)]
mod tests;
mod treatment;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kafka_client::seams::Rng;
use kafka_protocol::messages::ApiKey;

pub use on::On;
pub use rule::Fault;
pub(crate) use rule::Rule;
pub(crate) use treatment::{Delivery, Treatment, allowed};

use crate::cluster::Cluster;
use crate::server::connection::Context;
use crate::server::dispatch::SERVED;
use subject::Subject;

/// Makes things go wrong in a running cluster. Made by [`EmbeddedKafka::faults`](crate::EmbeddedKafka::faults).
///
/// A fault is a sentence: which requests, which of them, and what becomes of those.
///
/// ```
/// # use std::time::Duration;
/// # use kafka_embedded::{Api, EmbeddedKafka, ErrorCode};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), kafka_embedded::Error> {
/// let kafka = EmbeddedKafka::builder().topic("orders", 1).start().await?;
/// // The third commit finds another coordinator than it thought.
/// let fault = kafka.faults().on(Api::OffsetCommit).nth(3).answer(ErrorCode::NotCoordinator);
/// // Every fetch of this topic from broker 1 takes a second longer.
/// kafka.faults().on(Api::Fetch).topic("orders").broker(1).delay(Duration::from_secs(1));
/// // The batches of the first two produce requests are written, but their answers are lost.
/// kafka.faults().on(Api::Produce).first(2).close_after();
/// // ... what is tested ...
/// assert_eq!(fault.strikes(), 0);
/// kafka.faults().clear();
/// # Ok(())
/// # }
/// ```
///
/// Each fault counts the requests that it is about on its own, in the order in which the brokers read them, so it
/// strikes the same ones in every run of the same requests. Several faults may strike one request: their effects add
/// up, in the order of installation; of several errors the first is answered.
///
/// Faults hold until they are removed ([`Fault::remove`], [`Faults::clear`]) or the cluster ends, whether or not
/// somebody keeps the [`Fault`].
#[derive(Clone)]
pub struct Faults {
    cluster: Arc<Cluster>,
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faults").field("rules", &self.cluster.faults.rules()).finish()
    }
}

impl Faults {
    pub(crate) fn new(cluster: Arc<Cluster>) -> Self {
        Self { cluster }
    }

    /// Begins a fault in the requests of `api`. It is installed when its effect is named, such as [`On::answer`].
    pub fn on(&self, api: ApiKey) -> On {
        On::new(Arc::clone(&self.cluster), Some(api))
    }

    /// Begins a fault in the requests of every API.
    pub fn on_any(&self) -> On {
        On::new(Arc::clone(&self.cluster), None)
    }

    /// Removes every fault. What was held goes on.
    pub fn clear(&self) {
        let registry = &self.cluster.faults;
        let rules = std::mem::take(&mut *registry.rules());
        registry.any.store(false, Ordering::Release);
        for rule in rules {
            rule.open();
        }
    }

    /// The APIs that the brokers serve, each of which can go wrong.
    #[must_use]
    pub fn apis(&self) -> Vec<ApiKey> {
        SERVED.iter().filter_map(|api| ApiKey::try_from(api.key).ok()).collect()
    }

    /// Takes a member out of a group, as if its session had timed out: the others rebalance, and it hears
    /// UNKNOWN_MEMBER_ID. `member` is a member id, a `group.instance.id` or a `client.id`; of several members that
    /// one names, the one that joined first. `false` where there is no such member.
    pub fn expire_member(&self, group: &str, member: &str) -> bool {
        let expired = self.cluster.groups.run(group, |group, now| group.expire_member(now, member));
        expired.unwrap_or(false)
    }

    /// Shuts out the present producer of a transactional id, as if another instance had begun with it: an open
    /// transaction is aborted, and what the producer sends next is refused (PRODUCER_FENCED or INVALID_PRODUCER_EPOCH).
    /// `false` where nobody has used the id.
    pub fn fence_producer(&self, transactional_id: &str) -> bool {
        let fenced = self.cluster.transaction(transactional_id, |transaction, _| {
            let timeout = transaction.timeout();
            // While one is being ended its producer cannot do anything else anyway.
            transaction.init(timeout, None, || self.cluster.new_producer_id()).is_ok()
        });
        fenced.is_some()
    }

    /// Takes away the coordinator of a group or a transactional id: requests about it get NOT_COORDINATOR from every
    /// broker, and FindCoordinator answers COORDINATOR_NOT_AVAILABLE, until
    /// [`EmbeddedKafka::move_coordinator`](crate::EmbeddedKafka::move_coordinator) gives it one. Sessions of a group's members
    /// wait meanwhile; the next coordinator counts them anew, as Kafka's does.
    pub fn lose_coordinator(&self, key: &str) {
        self.cluster.move_coordinator(key, None);
    }

    /// Makes all members of a classic group join again, and assigns anew in one of KIP-848. `false` where there is no such group.
    pub fn force_rebalance(&self, group: &str) -> bool {
        self.cluster.groups.run(group, |group, now| group.force_rebalance(now)).is_some()
    }
}

/// The faults of a cluster.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    /// Whether there are any: most requests find out here that none is for them.
    any: AtomicBool,
    rules: Mutex<Vec<Arc<Rule>>>,
}

impl Registry {
    fn rules(&self) -> MutexGuard<'_, Vec<Arc<Rule>>> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn install(&self, rule: Rule) -> Arc<Rule> {
        let rule = Arc::new(rule);
        let mut rules = self.rules();
        rules.push(Arc::clone(&rule));
        self.any.store(true, Ordering::Release);
        rule
    }

    fn remove(&self, rule: &Arc<Rule>) {
        let mut rules = self.rules();
        rules.retain(|known| !Arc::ptr_eq(known, rule));
        self.any.store(!rules.is_empty(), Ordering::Release);
        drop(rules);
        rule.open();
    }

    /// What is to be done to a request, if anything.
    pub(crate) fn judge<R: Subject>(&self, context: &Context, request: &R) -> Option<Treatment> {
        if !self.any.load(Ordering::Acquire) {
            return None;
        }
        let struck = |rule: &&Arc<Rule>| rule.is_about(context, request) && rule.strikes_now();
        let struck: Vec<Arc<Rule>> = self.rules().iter().filter(struck).cloned().collect();
        (!struck.is_empty()).then(|| Treatment::new(struck))
    }
}

/// A generator of its own for a rule, so that what else draws numbers does not change what it strikes.
fn own_rng(cluster: &Cluster) -> Rng {
    Rng::seeded(cluster.rng.next_u64())
}
