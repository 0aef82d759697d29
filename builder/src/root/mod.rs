//! A node's root on the disk: what a bundle installs in it, what is recorded of that, and how it goes again.
//!
//! A `Verified` bundle, the `record` of what is installed and what is `seen` give a `plan`; it is checked for `fit` and
//! `room`, and carried out by `install`, which a kill at any point interrupts and the next run completes.

mod apply;
mod entrance;
mod fit;
mod install;
mod journal;
mod known;
mod plan;
mod record;
mod removal;
mod remove;
mod restart;
mod room;
mod running;
mod seen;
mod state;
mod step;
mod sync;
mod trust;
mod verify;
mod write;

pub use self::apply::{Applied, Options as Applying, apply};
pub use self::record::{Owner, Record};
pub use self::remove::{Options as Removing, Removed, remove};
pub use self::step::{Action, Step};
pub use self::trust::trusted_keys;
pub use self::verify::{Finding, Problem, Report, verify};
