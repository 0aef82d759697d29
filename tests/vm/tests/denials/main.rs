//! Denials and delays, end to end: the agent's code, the words of its hint, how little it asks, and that the hint cures.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod arc;
mod bench;
mod clock;
mod config;
mod hint;
mod kubelet;
mod lags;
mod node_rights;
mod operator;
