//! The contract between a bundle and the node it prepares: paths, the node's config schema.

pub mod paths;
pub mod suggest;
