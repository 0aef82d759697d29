//! Where a secret must not be: canaries in a join, and a search for them in everything that it leaves or lets others
//! see. `strace` writes down every program with its arguments and environment, every file that is made, and every
//! write, so that nothing is missed because it was short.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod azure_cli;
mod bench;
mod canaries;
mod ends;
mod joins;
mod memory;
mod processes;
mod trace;
mod words;
