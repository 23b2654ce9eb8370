//! Every wrong use of `#[kafka_listener]` is one clear error at the right place: a golden file each.
//!
//! `TRYBUILD=overwrite cargo test -p kafka-runtime --test ui` writes them anew; read what changed.

#[test]
fn wrong_uses_are_one_clear_error() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
