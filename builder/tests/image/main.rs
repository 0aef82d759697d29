//! Roots of images: what `check-root` and `seal` promise, and whether docs/baking.md is true.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod baking;
mod check_root;
mod faults;
mod good_root;
mod seal;
mod seal_astray;
