use kafka_client::seams::Rng;
use proptest::prelude::*;

use super::rule::When;

/// The numbers, from 1 to 12, that are struck.
fn struck(when: When) -> Vec<u64> {
    let rng = Rng::seeded(1);
    (1..=12).filter(|count| when.strikes(*count, &rng)).collect()
}

#[test]
fn which_requests_are_struck() {
    assert_eq!(struck(When::Nth(3)), [3]);
    assert_eq!(struck(When::First(2)), [1, 2]);
    assert_eq!(struck(When::After(10)), [11, 12]);
    assert_eq!(struck(When::Every(5)), [5, 10]);
    assert_eq!(struck(When::Every(0)), [], "no request is each zeroth");
    assert_eq!(struck(When::Always), (1..=12).collect::<Vec<_>>());
    assert_eq!(struck(When::Chance(0.0)), []);
    assert_eq!(struck(When::Chance(1.0)), struck(When::Always));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn chance_follows_from_the_seed(seed: u64, chance in 0.0..1.0) {
        let (one, two) = (Rng::seeded(seed), Rng::seeded(seed));
        for count in 1..100 {
            let when = When::Chance(chance);
            prop_assert_eq!(when.strikes(count, &one), when.strikes(count, &two));
        }
    }

    #[test]
    fn the_first_and_those_after_are_all(count in 1u64..1000, bound in 0u64..1000) {
        let rng = Rng::seeded(0);
        prop_assert_ne!(When::First(bound).strikes(count, &rng), When::After(bound).strikes(count, &rng));
    }
}
