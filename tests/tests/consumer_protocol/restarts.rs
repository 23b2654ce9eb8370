//! A static member that stops in peace and comes back.

use super::*;

/// Within the session its place is kept: it does not wait for its own ghost, and nobody else notices.
#[tokio::test(flavor = "multi_thread")]
async fn a_static_member_that_is_restarted_has_its_partitions_back_without_a_rebalance() {
    let fleet = fleet().await;
    let first = Member::start(&fleet, "properties: {group.instance.id: one}").await;
    let second = Member::start(&fleet, "properties: {group.instance.id: two}").await;
    shared_out(&first, &second).await;
    fleet.round(&first.app, "before").await;
    let (others, own) = (first.partitions(), second.partitions());
    eventually("all are handled", LIMIT, || async {
        once(&first.handled("before"), &others) && once(&second.handled("before"), &own)
    })
    .await;

    let mut events = first.events();
    let before = second.probe.clone();
    second.stop().await;
    // It is away for some heartbeats.
    never("the other one takes them", || first.partitions() != others).await;
    fleet.round(&first.app, "meanwhile").await;
    eventually("the other one goes on", LIMIT, || async { once(&first.handled("meanwhile"), &others) }).await;
    let begun = Instant::now();
    let second = Member::start(&fleet, "properties: {group.instance.id: two}").await;
    eventually("it has its own again", LIMIT, || async { second.partitions() == own }).await;
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(5), "it waited for its own ghost: {took:?}");
    eventually("it goes on", LIMIT, || async { once(&second.handled("meanwhile"), &own) }).await;
    assert_eq!(before.len(), 2 * own.len());

    let noticed = tokio::time::timeout(A_WHILE, event(&mut events, rebalance)).await;
    assert!(noticed.is_err(), "the other one noticed: {noticed:?}");
    assert_eq!(first.partitions(), others);
    assert!(second.handled("before").is_empty(), "it was committed at the stop");
    until_committed(&fleet, &all(), 2).await;
    first.stop().await;
    second.stop().await;
}

fn rebalance(kind: EventKind) -> Option<EventKind> {
    use EventKind::{Assigned, Lost, Revoked};
    matches!(kind, Assigned(_) | Revoked(_) | Lost(_)).then_some(kind)
}
