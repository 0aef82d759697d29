//! Whether a root is one, and the one that a bundle was built for.

use std::fs::File;
use std::io::Read as _;

use anyhow::{Context as _, Result, bail};
use object::elf::{EM_AARCH64, EM_X86_64, Machine};
use rustix::fs::{OFlags, ResolveFlags};
use rustix::io::Errno;

use super::entrance::{Root, resolved};
use crate::artifact::Arch;
use crate::bundle::Manifest;
use crate::failure::{Class, Failure};

/// Refuses a directory that is no root, one of another architecture, and, unless `any_release`, of another release.
///
/// # Errors
/// Says what it is and what the bundle is for.
pub(super) fn check(manifest: &Manifest, root: &Root, any_release: bool) -> Result<()> {
    let Some(release) = release(root)? else {
        bail!(no_root(root, "it has neither etc/os-release nor usr/lib/os-release"));
    };
    let Some(shell) = head(root, "bin/sh")? else { bail!(no_root(root, "it has no bin/sh")) };
    match machine(&shell) {
        Some(arch) if arch == manifest.arch => {}
        Some(arch) => bail!(
            Failure::new(Class::Usage, format!("{} is {arch}, the bundle is for {}", root.show(""), manifest.arch))
                .hint(format!("build one with --arch {arch}"))
        ),
        None => bail!(no_root(root, "its bin/sh is no program for amd64 or arm64")),
    }
    let target = manifest.target.to_string();
    if release != target && !any_release {
        bail!(
            Failure::new(Class::Usage, format!("{} is {release}, the bundle is for {target}", root.show("")))
                .hint(format!("build one with --target {release}, or take the risk with --any-release"))
        );
    }
    Ok(())
}

/// `ubuntu-22.04`, from os-release(5).
fn release(root: &Root) -> Result<Option<String>> {
    for path in ["etc/os-release", "usr/lib/os-release"] {
        if let Some(bytes) = head(root, path)? {
            return Ok(Some(parse_release(&String::from_utf8_lossy(&bytes))));
        }
    }
    Ok(None)
}

fn parse_release(text: &str) -> String {
    let value = |key: &str| {
        let line = text.lines().find_map(|line| line.trim().strip_prefix(key)?.strip_prefix('='));
        line.map(|value| value.trim_matches(['"', '\'']).to_owned())
    };
    match (value("ID"), value("VERSION_ID")) {
        (Some(id), Some(version)) => format!("{id}-{version}"),
        (Some(id), None) => id,
        (None, _) => "an unnamed system".to_owned(),
    }
}

/// The architecture of a program, from the first bytes of its ELF header.
fn machine(head: &[u8]) -> Option<Arch> {
    // 64 bits, little-endian: all that nodes run.
    let machine = head.starts_with(b"\x7fELF\x02\x01").then(|| head.get(18..20)).flatten()?;
    match Machine(u16::from_le_bytes([machine[0], machine[1]])) {
        EM_X86_64 => Some(Arch::Amd64),
        EM_AARCH64 => Some(Arch::Arm64),
        _ => None,
    }
}

/// The first bytes of a file, with links taken as they are for a process whose `/` this is: usr-merge makes `bin` one.
fn head(root: &Root, path: &str) -> Result<Option<Vec<u8>>> {
    let open = |more| {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | more;
        resolved(root.fd(), path, flags, ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS)
    };
    let opened = match open(OFlags::NOATIME) {
        Err(Errno::PERM) => open(OFlags::empty()),
        opened => opened,
    };
    let context = || format!("reading {}", root.show(path));
    match opened {
        Ok(fd) => {
            let (file, mut bytes) = (File::from(fd), Vec::new());
            if !file.metadata().with_context(context)?.is_file() {
                return Ok(None);
            }
            file.take(64 << 10).read_to_end(&mut bytes).with_context(context)?;
            Ok(Some(bytes))
        }
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        Err(error) => Err(error).with_context(context),
    }
}

fn no_root(root: &Root, why: &str) -> Failure {
    Failure::new(Class::Usage, format!("{} is no node's root: {why}", root.show("")))
        .hint("name the directory in which the node's etc and usr are")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_is_read_whatever_its_quotes() {
        assert_eq!(parse_release("NAME=\"Ubuntu\"\nVERSION_ID=\"22.04\"\nID=ubuntu\nID_LIKE=debian\n"), "ubuntu-22.04");
        assert_eq!(parse_release("ID='debian'\nVERSION_ID=12\n"), "debian-12");
        assert_eq!(parse_release("ID=arch\n"), "arch");
        assert_eq!(parse_release(""), "an unnamed system");
    }

    #[test]
    fn an_architecture_is_told_by_the_header_alone() {
        let header =
            |machine: u16| [b"\x7fELF\x02\x01\x01".as_slice(), &[0; 9], &[2, 0], &machine.to_le_bytes()].concat();
        assert_eq!(machine(&header(EM_X86_64.0)), Some(Arch::Amd64));
        assert_eq!(machine(&header(EM_AARCH64.0)), Some(Arch::Arm64));
        assert_eq!(machine(&header(243)), None);
        assert_eq!(machine(b"#!/bin/bash\nexec something"), None);
        assert_eq!(machine(b"\x7fELF\x02\x01"), None);
    }
}
