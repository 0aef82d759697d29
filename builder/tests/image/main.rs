//! Roots of images: what `check-root` promises.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod check_root;
mod good_root;
