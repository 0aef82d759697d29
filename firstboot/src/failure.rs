//! What went wrong, whose turn it is, and the cure: one `error:` line, one `hint:` line, one exit code.

use std::fmt;
use std::process::ExitCode;

/// How a run ends. The values above 2 are those of sysexits.h; the unit names each code but 75 as
/// not worth a restart, so a new one belongs into its `RestartPreventExitStatus=` too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Joined = 0,
    /// This machine or this build cannot do what was asked.
    Local = 1,
    /// Worth another try.
    Transient = 75,
    /// Denied by Azure or the cluster.
    Denied = 77,
    /// The config is wrong, or does not fit what Azure knows.
    BadConfig = 78,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// A failure with its exit code and its cure. Travels inside `anyhow::Error`.
#[derive(Debug)]
pub struct Failure {
    exit: Exit,
    message: String,
    hint: String,
}

impl Failure {
    /// A failure; `message` is lower case and names the object, `hint` is what to do next, best a command.
    /// Neither holds a secret. Control characters, which would steer a terminal, are blanked.
    pub fn new(exit: Exit, message: impl AsRef<str>, hint: impl AsRef<str>) -> Self {
        Self { exit, message: plain(message.as_ref()), hint: plain(hint.as_ref()) }
    }

    /// Its exit code.
    #[must_use]
    pub fn exit(&self) -> Exit {
        self.exit
    }

    /// Its cure.
    #[must_use]
    pub fn hint(&self) -> &str {
        &self.hint
    }

    /// Exit code and hint of an error: those of the `Failure` in it. Without one, the machine is to blame.
    #[must_use]
    pub fn describe(error: &anyhow::Error) -> (Exit, &str) {
        match error.downcast_ref::<Self>() {
            Some(failure) => (failure.exit, &failure.hint),
            None => (Exit::Local, "see whether the disk is full or read-only, and run as root"),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// Text from elsewhere as it may be shown: on one line, nothing that steers a terminal, no longer than people read.
#[must_use]
pub fn plain(text: &str) -> String {
    const LONGEST: usize = 1_000;
    let mut shown = String::with_capacity(text.len().min(LONGEST));
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()) {
        if !shown.is_empty() {
            shown.push(' ');
        }
        if shown.len() + word.len() > LONGEST {
            shown.push('…');
            break;
        }
        shown.push_str(word);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context as _;

    #[test]
    fn exit_and_hint_survive_contexts() {
        let error = Err::<(), _>(Failure::new(Exit::Denied, "no", "ask")).context("assigning roles");
        let error = error.expect_err("it failed");
        assert_eq!(Failure::describe(&error), (Exit::Denied, "ask"));
        assert_eq!(format!("{error:#}"), "assigning roles: no");
    }

    #[test]
    fn what_a_server_says_steers_no_terminal() {
        assert_eq!(plain("a\x1b[31m\r\n b\u{9b}c"), "a [31m b c");
        assert!(plain(&"word ".repeat(1_000)).len() < 1_100);
    }
}
