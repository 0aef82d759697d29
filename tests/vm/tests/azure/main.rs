//! The emulated Azure is as strict as Azure, and each of its faults is one: seen through a plain HTTP client.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod agent;
mod arm;
mod bench;
mod entra;
mod faults;
mod himds;
mod kubectl;
mod kubernetes;
mod lags;
mod play;
mod pods;
mod roles;
