//! What is wrong with a root, how bad it is, and the command that cures it.

use std::fmt;
use std::path::Path;

use serde::Serialize;

/// How bad a finding is; the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The node cannot work.
    Error,
    /// The node works until something happens, or not in every network.
    Warning,
    /// Good to know.
    Note,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Never changes, for machines.
    pub name: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong and why that matters.
    pub message: String,
    /// The command, or what to do where there is none.
    pub cure: String,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}\nhint: {}", self.severity, self.message, self.cure)
    }
}

/// Commands for a shell of the machine from which a root is prepared.
#[derive(Debug, Clone)]
pub struct Shell {
    root: String,
}

impl Shell {
    /// For the root at `path`.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        let root = path.to_string_lossy();
        Self { root: root.trim_end_matches('/').to_owned() }
    }

    /// `command` with the root as its root.
    #[must_use]
    pub fn run(&self, command: &str) -> String {
        if self.root.is_empty() { command.to_owned() } else { format!("chroot {} {command}", quoted(&self.root)) }
    }

    /// The path at which a file of the root is reached.
    #[must_use]
    pub fn path(&self, path: impl AsRef<Path>) -> String {
        let path = path.as_ref().to_string_lossy();
        quoted(&format!("{}/{}", self.root, path.trim_start_matches('/')))
    }

    /// `command` with paths of the root as its arguments.
    #[must_use]
    pub fn with_paths<P: AsRef<Path>>(&self, command: &str, paths: &[P]) -> String {
        paths.iter().fold(command.to_owned(), |line, path| format!("{line} {}", self.path(path)))
    }

    /// The same for paths with links on the way, which would lead to files of this machine: inside they do not.
    #[must_use]
    pub fn with_paths_inside<P: AsRef<Path>>(&self, command: &str, paths: &[P]) -> String {
        self.run(&Self { root: String::new() }.with_paths(command, paths))
    }

    /// The root itself.
    #[must_use]
    pub fn root(&self) -> String {
        if self.root.is_empty() { "/".to_owned() } else { quoted(&self.root) }
    }
}

/// One word for a shell, whatever is in it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@%:,=".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}
