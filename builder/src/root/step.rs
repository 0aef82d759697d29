//! One step of a plan: what happens to a path, and why.

use std::fmt;

use serde::Serialize;

use crate::bundle::Kind;
use crate::overlay::OverlayPath;

/// One change, or one thing that is left although it differs.
#[derive(Debug, Clone, Serialize)]
pub struct Step {
    /// What happens.
    pub action: Action,
    /// To what.
    pub path: OverlayPath,
    /// What is put there, or taken away.
    #[serde(flatten)]
    pub kind: Kind,
    /// Why, where that is not plain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<&'static str>,
    /// The member of the bundle that has the content.
    #[serde(skip)]
    pub(super) from: OverlayPath,
}

/// What happens to a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Nothing was there.
    Install,
    /// What was there is ours, or damaged.
    Replace,
    /// What is there is the operator's and stays.
    Keep,
    /// The bundle's version of something that was kept.
    Beside,
    /// It goes.
    Remove,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Install => "install",
            Self::Replace => "replace",
            Self::Keep => "keep",
            Self::Beside => "beside",
            Self::Remove => "remove",
        })
    }
}

impl Step {
    /// Whether it changes anything.
    #[must_use]
    pub fn is_change(&self) -> bool {
        self.action != Action::Keep
    }

    /// The path whose content it is about: for what goes beside a file, that file.
    #[must_use]
    pub fn source(&self) -> &OverlayPath {
        &self.from
    }

    /// Whether something is written.
    pub(super) fn writes(&self) -> bool {
        matches!(self.action, Action::Install | Action::Replace | Action::Beside)
    }

    pub(super) fn is_directory(&self) -> bool {
        matches!(self.kind, Kind::Directory { .. })
    }
}
