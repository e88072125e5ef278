//! Guides: pages with examples, for questions that concern several layers.
//!
//! | Guide | Question |
//! |---|---|
//! | [`concurrency`] | How are many calls run at once, and how are they bounded? |
//! | [`order`] | In which order do the layers belong, and what does each pair mean both ways? |
//! | [`safety`] | What can be cloned, sent and shared, and what happens when it is dropped? |
//! | [`production`] | Which limits are set, how does a process stop, and what is watched? |
//! | [`cleanup`](crate::cleanup::guide) | What ends with a call, and what cannot be ended? |
//! | [`middleware`](crate::middleware::guide) | How is a layer of one's own written? |
//!
//! How to test a stack is in the documentation of the crate `toolbooth-test`.

#[doc = include_str!("../docs/guide/concurrency.md")]
pub mod concurrency {}
#[doc = include_str!("../docs/guide/order.md")]
pub mod order {}
#[doc = include_str!("../docs/guide/production.md")]
pub mod production {}
#[doc = include_str!("../docs/guide/safety.md")]
pub mod safety {}
