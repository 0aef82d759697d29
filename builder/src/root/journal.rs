//! `applying.json`: all that an interrupted apply may have left, written before its first change.

use std::collections::BTreeSet;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::record::{FORMAT, Installed, Owner, Record, expect_format};
use crate::document;

/// What may be there besides what the record says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Journal {
    version: u32,
    /// Whom the files belong to.
    pub(super) owner: Owner,
    /// The mounts below the root that hold some of them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) mounts: BTreeSet<String>,
    /// What one interrupted apply after another was to install; a path may occur more than once.
    pub(super) files: Vec<Installed>,
}

impl Journal {
    /// For an apply that is to end with `record`, after another one that was interrupted.
    pub(super) fn new(before: Option<&Self>, record: &Record) -> Self {
        let mut files = before.map_or_else(Vec::new, |before| before.files.clone());
        for file in &record.files {
            if !files.contains(file) {
                files.push(file.clone());
            }
        }
        let mut mounts = record.mounts.clone();
        mounts.extend(before.iter().flat_map(|before| before.mounts.clone()));
        Self { version: FORMAT, owner: record.owner, mounts, files }
    }

    /// Parses the text of an `applying.json`.
    ///
    /// # Errors
    /// When it has another format or shape.
    pub(super) fn parse(text: &str, name: &str) -> Result<Self> {
        expect_format(text, name)?;
        document::parse_json(text, name, "")
    }
}
