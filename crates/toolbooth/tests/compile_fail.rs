//! Compiler errors name the missing trait and the remedy.

// The errors list the implementors of a trait, and this feature adds some.
#![cfg(feature = "http")]

/// Case G2. The note on handlers shows the closure with state that compiles.
#[test]
fn compiler_errors_name_the_missing_trait_and_the_remedy() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
