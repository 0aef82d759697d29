//! The node's config: fragments (files as written) → inputs (one merged set of keys) → settings (values proven right).
//!
//! ```
//! use flexnode_firstboot::config::{Fragment, Settings};
//!
//! let golden = Fragment::parse("azure: {tenantId: contoso.onmicrosoft.com}", "config.yaml")?;
//! let machine = Fragment::parse("node: {name: Edge_1, lables: {}}", "10-machine.yaml")?;
//! let problems = Settings::from_fragments([golden, machine]).expect_err("three mistakes, three problems");
//! assert_eq!(problems.list().len(), 3);
//! # Ok::<(), flexnode_firstboot::config::Problems>(())
//! ```
//!
//! Nothing here opens a socket. Only [`load`] touches the disk; the rest maps text to values.

mod aks_flex_node;
pub mod azure;
pub mod endpoint;
mod files;
mod fragment;
mod input;
pub mod kubernetes;
mod operator;
mod problem;
mod prove;
pub mod resource_id;
mod secret;
mod settings;
mod shape;

pub use files::{Loaded, load};
pub use fragment::Fragment;
pub use input::{NodeConfig, schema};
pub use problem::{Flaw, Problem, Problems};
pub use secret::Secret;
pub use settings::{ArcMachine, Node, Operator, Proxy, RoleGrant, SecretSource, ServicePrincipal, Settings};
