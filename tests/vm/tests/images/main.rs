//! Container images on their way into a bundle: from a real registry, from layouts and archives that skopeo made, from
//! the lab's mirror; and the ones that must not get there.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod bench;
mod hostile;
mod local;
mod login;
mod pulls;
mod registry;
