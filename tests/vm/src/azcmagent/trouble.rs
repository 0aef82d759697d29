//! What the agent says when it cannot do something: a code of the real one, whose number is the exit status.

use std::fmt;
use std::process::ExitCode;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
    /// The token that was given is not taken.
    InvalidToken = 12,
    /// An option is missing or wrong.
    InvalidOption = 16,
    /// Not root.
    NotRoot = 18,
    /// Azure cannot be reached.
    Network = 26,
    /// No token can be had.
    NoToken = 41,
    /// Azure does not create the resource.
    CreateFailed = 42,
    /// There is a resource of this name.
    Exists = 44,
    /// Azure does not delete the resource.
    DeleteFailed = 62,
    /// This machine is connected already.
    AlreadyConnected = 67,
    /// This machine's own files.
    Internal = 102,
}

#[derive(Debug)]
pub(super) struct Trouble {
    code: Code,
    message: String,
}

pub(super) type Outcome<T> = Result<T, Trouble>;

impl Trouble {
    pub(super) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    pub(super) fn exit(&self) -> ExitCode {
        ExitCode::from(self.code as u8)
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "level=fatal msg=\"AZCM{:04}: {}\"", self.code as u8, self.message.replace('"', "'"))
    }
}

impl From<anyhow::Error> for Trouble {
    fn from(error: anyhow::Error) -> Self {
        Self::new(Code::Internal, format!("{error:#}"))
    }
}
