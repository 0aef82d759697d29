//! What went wrong, in which class, and the cure: one `error:` line, one `hint:` line, one exit code.

use std::fmt;

/// Who must act; each class has its own exit code (documented in `docs/exit-codes.md`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// This machine: disk, permissions, anything not below.
    Local = 1,
    /// The command line, the spec, a template or a value is wrong.
    Usage = 2,
    /// No such version, a bad pair, a lock that does not fit.
    Resolution = 3,
    /// Nothing could be fetched.
    Network = 4,
    /// Something was fetched and is not what was pinned, or must not be shipped.
    Verification = 5,
    /// A bundle is damaged or no bundle.
    BadBundle = 6,
    /// A root lacks what a node needs, or holds what an image must not.
    UnfitRoot = 8,
}

/// A failure with its class and, where there is one, its cure. Travels inside `anyhow::Error`.
#[derive(Debug)]
pub struct Failure {
    /// The class, and so the exit code.
    pub class: Class,
    message: String,
    hint: Option<String>,
}

impl Failure {
    /// A failure of `class`; `message` is lower case and names the object.
    pub fn new(class: Class, message: impl Into<String>) -> Self {
        Self { class, message: message.into(), hint: None }
    }

    /// Adds what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Class and hint of an error: those of the outermost `Failure` in it.
    #[must_use]
    pub fn describe(error: &anyhow::Error) -> (Class, Option<&str>) {
        match error.downcast_ref::<Self>() {
            Some(failure) => (failure.class, failure.hint.as_deref()),
            None => (Class::Local, None),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}
