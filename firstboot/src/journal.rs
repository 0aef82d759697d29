//! Log lines: structured ones for systemd's journal under systemd, plain ones on standard error elsewhere.
//!
//! There is no other log in this program. The libraries' own `tracing` and `log` lines, which at trace level would
//! show headers and bodies, have no subscriber: they are not there to be turned on.

use std::fmt::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use crate::failure::plain;

/// The journal's socket, on a node.
pub const SOCKET: &str = "/run/systemd/journal/socket";

/// How much a line matters, as syslog counts.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Priority {
    Error = 3,
    Warning = 4,
    Notice = 5,
    Info = 6,
}

/// Where lines go.
#[derive(Debug)]
pub struct Journal(Sink);

#[derive(Debug)]
enum Sink {
    Systemd(UnixDatagram),
    Stderr,
    Nowhere,
}

impl Journal {
    /// The journal at `socket` if standard error is connected to it (`$JOURNAL_STREAM` says which), and standard error
    /// otherwise.
    #[must_use]
    pub fn from_environment(socket: &Path) -> Self {
        let systemd = is_connected_to_journal().then(UnixDatagram::unbound).and_then(Result::ok);
        match systemd.filter(|datagrams| datagrams.connect(socket).is_ok()) {
            Some(datagrams) => Self(Sink::Systemd(datagrams)),
            None => Self(Sink::Stderr),
        }
    }

    /// Nowhere.
    #[must_use]
    pub fn silent() -> Self {
        Self(Sink::Nowhere)
    }

    /// One line. Field names get the prefix `FLEXNODE_`.
    pub(crate) fn say(&self, priority: Priority, message: &str, fields: &[(&str, &str)]) {
        match &self.0 {
            Sink::Nowhere => {}
            // An error is printed by main as `error:` and `hint:`.
            Sink::Stderr if matches!(priority, Priority::Error) => {}
            Sink::Stderr => eprintln!("{}", plain(message)),
            Sink::Systemd(socket) => {
                let _ = socket.send(entry(priority, message, fields).as_bytes());
            }
        }
    }
}

/// The journal's native protocol; every value is on one line.
fn entry(priority: Priority, message: &str, fields: &[(&str, &str)]) -> String {
    let mut entry = format!("PRIORITY={}\nSYSLOG_IDENTIFIER=flexnode-firstboot\n", priority as u8);
    let _ = writeln!(entry, "MESSAGE={}", plain(message));
    for (name, value) in fields {
        let _ = writeln!(entry, "FLEXNODE_{name}={}", plain(value));
    }
    entry
}

/// `$JOURNAL_STREAM` is device and inode of the stream that systemd connected; a redirection leaves it behind.
fn is_connected_to_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    std::fs::metadata("/proc/self/fd/2").is_ok_and(|file| stream == format!("{}:{}", file.dev(), file.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_value_can_add_a_field() {
        let entry = entry(Priority::Warning, "a\nPRIORITY=0", &[("STEP", "arc"), ("ERROR", "x\ny=z")]);
        let expected = "PRIORITY=4\nSYSLOG_IDENTIFIER=flexnode-firstboot\nMESSAGE=a PRIORITY=0\nFLEXNODE_STEP=arc\n\
                        FLEXNODE_ERROR=x y=z\n";
        assert_eq!(entry, expected);
    }
}
