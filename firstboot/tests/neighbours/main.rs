//! The program against stand-ins of its neighbours: what it runs, what it refuses, what it leaves behind.
//!
//! The stand-ins are shell scripts first on PATH; Azure is a loopback server with fixed answers. The strict emulator
//! has its own tests.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod arc;
mod lab;
mod packages;
mod roles;
mod runs;
