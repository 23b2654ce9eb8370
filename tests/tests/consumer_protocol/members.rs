//! Members of ours, the Java client's and librdkafka's; groups that change their protocol.

use tests::PeerKind;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn members_of_ours() {
    fleet().await.two_and_three_of_ours().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_java() {
    fleet().await.with_a_peer(PeerKind::Java, "consumer").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_librdkafka() {
    fleet().await.with_a_peer(PeerKind::Librdkafka, "consumer").await;
}

/// A fleet goes from the classic protocol to KIP-848 and back, a member at a time, and nobody stops meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_group_changes_its_protocol_while_it_runs() {
    let fleet = Fleet::new("").await;
    let (classic, new) = ("session.timeout.ms: 6000, heartbeat.interval.ms: 300", "group.protocol: consumer");
    let probes: [Probe; 6] = std::array::from_fn(|_| Probe::default());
    let [one, two, three, four, five, six] = &probes;
    let first = fleet.member_with(one, classic).await;
    fleet.shared_out(&first, &[one], false).await;
    let second = fleet.member_with(two, classic).await;
    fleet.shared_out(&first, &[one, two], false).await;
    let third = fleet.member_with(three, new).await;
    fleet.shared_out(&first, &[one, two, three], false).await;
    first.stop().await.unwrap();
    let fourth = fleet.member_with(four, new).await;
    fleet.shared_out(&third, &[two, three, four], false).await;
    second.stop().await.unwrap();
    fleet.shared_out(&third, &[three, four], false).await;
    // And back.
    let fifth = fleet.member_with(five, classic).await;
    fleet.shared_out(&third, &[three, four, five], false).await;
    third.stop().await.unwrap();
    fleet.shared_out(&fourth, &[four, five], false).await;
    fourth.stop().await.unwrap();
    fleet.shared_out(&fifth, &[five], false).await;
    let sixth = fleet.member_with(six, classic).await;
    fleet.shared_out(&fifth, &[five, six], false).await;
    fifth.stop().await.unwrap();
    sixth.stop().await.unwrap();
    assert_eq!(repeated(&probes), [], "a record was handled twice");
}

/// The last two members that speak KIP-848 leave at once. The coordinator then makes a classic group of a later
/// generation than the one that the member that stays was told of, and refuses its commit: the record in hand comes again.
#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_becomes_classic_in_haste_repeats_what_was_in_hand_at_most() {
    let fleet = Fleet::new("").await;
    let (classic, new) = ("session.timeout.ms: 6000, heartbeat.interval.ms: 300", "group.protocol: consumer");
    let probes: [Probe; 3] = std::array::from_fn(|_| Probe::default());
    let [one, two, three] = &probes;
    let first = fleet.member_with(one, new).await;
    let second = fleet.member_with(two, new).await;
    fleet.shared_out(&first, &[one, two], false).await;
    let third = fleet.member_with(three, classic).await;
    fleet.shared_out(&first, &[one, two, three], false).await;
    first.stop().await.unwrap();
    second.stop().await.unwrap();
    fleet.shared_out(&third, &[three], false).await;
    third.stop().await.unwrap();
    let repeated = repeated(&probes);
    let in_each = |partition| repeated.iter().filter(|(known, _)| *known == partition).count();
    assert!((0..PARTITIONS).all(|partition| in_each(partition) <= 1), "repeated: {repeated:?}");
}

/// What came more than once, once for each time that was too much; each partition's records came without a gap.
fn repeated(probes: &[Probe]) -> Vec<(i32, i64)> {
    let seen = probes.iter().flat_map(Probe::seen).map(|seen| (seen.partition, seen.offset));
    let mut all: Vec<(i32, i64)> = seen.collect();
    all.sort_unstable();
    let repeated = all.windows(2).filter(|two| two[0] == two[1]).map(|two| two[0]).collect();
    all.dedup();
    let each = all.len() as i64 / i64::from(PARTITIONS);
    for partition in 0..PARTITIONS {
        let offsets = all.iter().filter(|(known, _)| *known == partition).map(|(_, offset)| *offset);
        assert!(offsets.eq(0..each), "a record of {partition} was lost");
    }
    repeated
}
