//! The bundle: a plain overlay in a tar.zst whose first member says what every other member must be.

mod ahead;
mod beside;
pub mod diff;
mod frames;
pub mod inspect;
mod manifest;
mod pack;
mod read;
mod source;
mod verified;
pub mod verify;

pub use self::beside::{digest_file_of, provenance_file_of, signature_file_of, sigstore_file_of};
pub use self::manifest::{BuiltBy, Component, Item, Kind, MANIFEST_PATH, Manifest};
pub use self::pack::{Packed, Packing, pack};
pub use self::read::{Bundle, Member};
pub use self::source::Source;
pub use self::verified::Verified;
