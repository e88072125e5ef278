//! What the compiler says where something is missing names the trait and the remedy.

// It lists what implements a trait, which is more with this feature than without.
#![cfg(feature = "http")]

#[test]
fn what_is_missing_is_named_together_with_the_remedy() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
