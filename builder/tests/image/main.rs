//! Roots of images: what `check-root` and `seal` promise.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod check_root;
mod good_root;
mod seal;
