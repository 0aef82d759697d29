//! Whether the root is a release that the bundle is for.

use anyhow::Result;

use super::Check;
use crate::target::Target;

pub(super) fn check(check: &mut Check<'_>, target: Option<Target>) -> Result<()> {
    let mut text = check.text("etc/os-release")?;
    if text.is_none() {
        // os-release(5): the file in /etc wins.
        text = check.text("usr/lib/os-release")?;
    }
    let Some(text) = text else {
        let cure = check.install("--reinstall base-files");
        check.error("os-release", "there is no /etc/os-release: nobody can tell what system this is", cure);
        return Ok(());
    };
    let field = |name: &str| value(&text, name).unwrap_or_default();
    let found = format!("{}-{}", field("ID"), field("VERSION_ID"));
    let own = [Target::Ubuntu2004, Target::Ubuntu2204, Target::Ubuntu2404, Target::Debian11, Target::Debian12]
        .into_iter()
        .find(|target| target.to_string() == found);
    match (own, target) {
        (Some(own), Some(target)) if own == target => {}
        (Some(own), Some(target)) if own.glibc() < target.glibc() => {
            let cure = format!("build the bundle with `--target {own}`, or prepare a root of {target}");
            let message = format!("this is {own} and the bundle is for {target}, whose C library is newer");
            check.error("release", message, cure);
        }
        (Some(own), Some(target)) => {
            let cure = format!("build the bundle with `--target {own}`");
            check.warning("release", format!("this is {own}, the bundle is for {target}"), cure);
        }
        (Some(Target::Debian11 | Target::Debian12), None) => {
            let cure = format!("build the bundle with `--target {found}`; Ubuntu 22.04 is the default");
            check.note("release", format!("this is {found}"), cure);
        }
        (Some(Target::Ubuntu2004), None) => {
            let cure = "build the bundle with `--target ubuntu-20.04`; better, take a newer release";
            check.warning("release", "this is ubuntu-20.04, which boots with cgroup v1 by itself", cure);
        }
        (Some(_), None) => {}
        (None, _) => {
            let cure = "take Ubuntu 22.04 or 24.04";
            check.warning("release", format!("this is {found}, for which no bundle is built"), cure);
        }
    }
    Ok(())
}

/// The value of a variable, without quotes.
fn value<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let line = text.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix('='))?;
    Some(line.trim_matches(['"', '\'']))
}
