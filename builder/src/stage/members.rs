//! The census of an archive: every member is counted, whether wanted or not, and must be harmless.

use std::collections::BTreeMap;

use anyhow::{Result, anyhow, bail};
use flexnode_firstboot::suggest::nearest;

use super::archive::refuse;
use super::tar::{Member, MemberKind, show};
use crate::artifact::{Artifact, Kind, Ownership};
use crate::failure::{Class, Failure};

/// Longer than any real path, short enough that 100,000 of them fit in memory.
const NAME_LIMIT: usize = 1024;

/// All members so far, by normalised name.
#[derive(Debug)]
pub(super) struct Census {
    members: BTreeMap<String, MemberKind>,
    ownership: Ownership,
    member_limit: u64,
    /// Whether the archive's root is the node's, so that a link to `/usr/bin/x` may lead to a member.
    is_rooted: bool,
}

impl Census {
    pub(super) fn new(artifact: &Artifact, member_limit: u64) -> Self {
        let is_rooted = artifact.kind == Kind::Deb;
        Self { members: BTreeMap::new(), ownership: artifact.ownership, member_limit, is_rooted }
    }

    /// Takes a member in and returns its normalised name, which is empty for the root directory.
    pub(super) fn admit(&mut self, member: &Member) -> Result<String> {
        let shown = show(&member.name);
        let name = normalise(&member.name, &member.kind)
            .map_err(|why| refuse(format!("member `{shown}` has a bad name: {why}")))?;
        if member.size > self.member_limit {
            let (size, limit) = (member.size, self.member_limit);
            return Err(refuse(format!("member `{shown}` is {size} bytes long, more than {limit}")));
        }
        // Directories such as Debian's var/local are setgid; their modes are ours, not the archive's.
        if member.mode & 0o7000 != 0 && matches!(member.kind, MemberKind::File | MemberKind::Hardlink { .. }) {
            let mode = member.mode;
            return Err(refuse(format!("member `{shown}` has a setuid, setgid or sticky bit (mode {mode:04o})")));
        }
        if self.ownership == Ownership::Root
            && let Some(owner) = member.owners.iter().find(|owner| **owner != 0)
        {
            bail!(Failure::new(Class::Verification, format!("member `{shown}` belongs to {owner}, not to root")).hint(
                "if upstream is known to archive as another user, say `ownership: any`; owners are never restored"
            ));
        }
        self.check_links(&name, member)?;
        self.check_place(&name, &member.kind)?;
        self.members.insert(name.clone(), member.kind.clone());
        Ok(name)
    }

    /// What only the whole archive can show: whether links to absolute paths lead to members.
    pub(super) fn finish(&self) -> Result<()> {
        for (name, kind) in &self.members {
            if let MemberKind::Symlink { target } = kind
                && let Some(absolute) = target.strip_prefix(b"/")
                && !std::str::from_utf8(absolute).is_ok_and(|target| self.members.contains_key(target))
            {
                return Err(leads_out(name, "symbolic", target));
            }
        }
        Ok(())
    }

    /// The refusal of an archive that lacks `name`.
    pub(super) fn missing(&self, name: &str) -> anyhow::Error {
        let file_name = |path: &str| path.rsplit('/').next().map(str::to_owned);
        let files = || {
            let is_file = |(_, kind): &(&String, &MemberKind)| **kind == MemberKind::File;
            self.members.iter().filter(is_file).map(|(name, _)| name.as_str())
        };
        let mut near: Vec<&str> = files().filter(|other| file_name(other) == file_name(name)).take(3).collect();
        if near.is_empty() {
            near.extend(nearest(name, files()));
        }
        let hint = if near.is_empty() {
            let some: Vec<String> = files().take(8).map(|name| format!("`{}`", show(name.as_bytes()))).collect();
            if some.is_empty() { "it holds no files".to_owned() } else { format!("it holds {}", some.join(", ")) }
        } else {
            let near: Vec<String> = near.iter().map(|name| format!("`{}`", show(name.as_bytes()))).collect();
            format!("did you mean {}?", near.join(" or "))
        };
        let name = show(name.as_bytes());
        anyhow!(Failure::new(Class::Verification, format!("the archive has no member `{name}`")).hint(hint))
    }

    fn check_links(&self, name: &str, member: &Member) -> Result<()> {
        match &member.kind {
            MemberKind::File | MemberKind::Directory => Ok(()),
            // Resolved in `finish`.
            MemberKind::Symlink { target } if self.is_rooted && target.starts_with(b"/") => Ok(()),
            MemberKind::Symlink { target } if stays_inside(name, target) => Ok(()),
            MemberKind::Symlink { target } => Err(leads_out(name, "symbolic", target)),
            MemberKind::Hardlink { target } => {
                let linked = normalise(target, &MemberKind::File).ok().and_then(|target| self.members.get(&target));
                match linked {
                    Some(MemberKind::File | MemberKind::Hardlink { .. }) => Ok(()),
                    _ => Err(leads_out(name, "hard", target)),
                }
            }
        }
    }

    /// Each name once, and nothing below what is no directory.
    fn check_place(&self, name: &str, kind: &MemberKind) -> Result<()> {
        let shown = show(name.as_bytes());
        if self.members.contains_key(name) {
            return Err(refuse(format!("member `{shown}` is there twice")));
        }
        for (at, _) in name.match_indices('/') {
            let above = &name[..at];
            if self.members.get(above).is_some_and(|kind| *kind != MemberKind::Directory) {
                let above = show(above.as_bytes());
                return Err(refuse(format!("member `{shown}` is below `{above}`, which is no directory")));
            }
        }
        let below = format!("{name}/");
        let mut after = self.members.range(below.clone()..);
        if *kind != MemberKind::Directory && after.next().is_some_and(|(other, _)| other.starts_with(&below)) {
            return Err(refuse(format!("member `{shown}` is no directory, yet others are below it")));
        }
        Ok(())
    }
}

/// The name without a leading `./` and, for directories, a trailing slash.
fn normalise(name: &[u8], kind: &MemberKind) -> Result<String, &'static str> {
    let name = std::str::from_utf8(name).map_err(|_not_utf8| "it is not UTF-8")?;
    if name.is_empty() {
        return Err("it is empty");
    }
    if name.len() > NAME_LIMIT {
        return Err("it is longer than 1024 bytes");
    }
    if name.chars().any(char::is_control) {
        return Err("it has a control character");
    }
    if name.starts_with('/') {
        return Err("it is absolute");
    }
    let is_directory = *kind == MemberKind::Directory;
    if is_directory && matches!(name, "." | "./") {
        return Ok(String::new());
    }
    let name = name.strip_prefix("./").unwrap_or(name);
    let name = if is_directory { name.strip_suffix('/').unwrap_or(name) } else { name };
    for part in name.split('/') {
        match part {
            "" => return Err("it has an empty part"),
            "." => return Err("it has a `.` part"),
            ".." => return Err("it has a `..` part"),
            _ => {}
        }
    }
    Ok(name.to_owned())
}

/// Whether a symbolic link leads to somewhere in the archive.
///
/// `..` is taken only in front, where it can be counted: behind a name it would depend on what that name links to.
/// As no member may be below a link, this holds for chains of links too.
fn stays_inside(link: &str, target: &[u8]) -> bool {
    let Ok(target) = std::str::from_utf8(target) else { return false };
    if target.is_empty() || target.starts_with('/') || target.chars().any(char::is_control) {
        return false;
    }
    let depth = link.matches('/').count();
    let parts: Vec<&str> = target.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    let ups = parts.iter().take_while(|part| **part == "..").count();
    ups <= depth && !parts[ups..].contains(&"..")
}

fn leads_out(name: &str, sort: &str, target: &[u8]) -> anyhow::Error {
    let (name, target) = (show(name.as_bytes()), show(target));
    refuse(format!("member `{name}` is a {sort} link out of the archive, to `{target}`"))
}

#[cfg(test)]
mod tests {
    use super::stays_inside;

    #[test]
    fn a_link_may_climb_to_the_root_and_no_further() {
        assert!(stays_inside("bin/a", b"../lib/b"));
        assert!(stays_inside("bin/a", b"b"));
        assert!(!stays_inside("bin/a", b"../../b"));
        assert!(!stays_inside("a", b".."));
        assert!(!stays_inside("a", b"b/../.."));
        assert!(!stays_inside("a/b/c", b"d/../e"));
        assert!(!stays_inside("a", b"/b"));
        assert!(!stays_inside("a", b""));
    }
}
