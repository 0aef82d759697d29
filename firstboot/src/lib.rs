//! The contract between a bundle and the node it prepares: paths, the node's config schema.

pub mod cli;
pub mod config;
pub mod paths;
pub mod suggest;
