//! The tests of this package are in the files beside this one, one for each promise of the whole stack.
