//! The bundle: a plain overlay in a tar.zst whose first member says what every other member must be.

mod ahead;
pub mod diff;
mod frames;
pub mod inspect;
mod manifest;
mod pack;
mod read;
mod source;
mod verified;
pub mod verify;

pub use self::manifest::{BuiltBy, Component, Item, Kind, MANIFEST_PATH, Manifest};
pub use self::pack::{Packed, Packing, pack};
pub use self::read::{Bundle, Member, digest_file_of};
pub use self::source::Source;
pub use self::verified::Verified;
