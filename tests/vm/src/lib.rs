//! The lab: real programs, faulty servers and end-to-end tests.

pub mod azcmagent;
pub mod azure;
pub mod boot;
mod cri;
mod crictl;
pub mod egress;
pub mod faults;
pub mod fleet;
pub mod join;
mod kubelet;
pub mod lab;
pub mod node;
pub mod standin;
