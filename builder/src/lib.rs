//! Builds verified, reproducible offline bundles that turn stock Ubuntu into AKS worker nodes.
//!
//! One arrow per module: a `request` is `resolve`d with the `catalog` into a `lock`; what that pins is `fetch`ed and
//! verified, `stage`d and `render`ed into an `overlay`, and packed into a `bundle`.

pub mod artifact;
pub mod assemble;
pub mod atomic;
pub mod audit;
pub mod bundle;
pub mod catalog;
pub mod check_root;
pub mod cli;
pub mod digest;
pub mod document;
pub mod failure;
pub mod fetch;
pub mod finding;
pub mod image;
pub mod image_root;
pub mod lock;
pub mod overlay;
pub mod progress;
pub mod render;
pub mod request;
pub mod resolve;
pub mod root;
pub mod sbom;
pub mod seal;
pub mod signing;
pub mod spec;
pub mod stage;
pub mod target;
pub mod text;
