//! Builds verified, reproducible offline bundles that turn stock Ubuntu into AKS worker nodes.
//!
//! One arrow per module: `catalog` and `spec` are resolved into a `lock`; what it pins is `fetch`ed and verified,
//! `stage`d and `render`ed into an `overlay`, and `pack`ed into a `bundle`.

pub mod artifact;
pub mod digest;
pub mod failure;
pub mod fetch;
pub mod overlay;
pub mod progress;
pub mod render;
pub mod stage;
pub mod target;
