//! The kernel, where the root has one: its modules, and the cgroup version that it boots with.

use std::collections::BTreeSet;

use anyhow::Result;

use super::Check;
use crate::finding::Severity;

/// Modules that a node needs, and what for.
const MODULES: [(&str, Severity, &str); 4] = [
    ("overlay", Severity::Error, "containerd keeps images and containers on it"),
    ("br_netfilter", Severity::Error, "services are not reached from pods of the same bridge without it"),
    ("nf_conntrack", Severity::Error, "services are translated with it"),
    ("vxlan", Severity::Warning, "overlay networks run through it"),
];

pub(super) fn check(check: &mut Check<'_>) -> Result<()> {
    // After the merge of /usr both are the same directory.
    let mut releases = BTreeSet::new();
    for directory in ["usr/lib/modules", "lib/modules"] {
        for release in check.names(directory)? {
            // Packages of headers or firmware leave directories without a kernel's modules.
            let path = format!("{directory}/{release}");
            if check.is_there(format!("{path}/kernel"))? || check.is_there(format!("{path}/modules.dep"))? {
                releases.insert((release, directory));
            }
        }
    }
    let mut seen = BTreeSet::new();
    for (release, directory) in releases {
        if seen.insert(release.clone()) {
            modules(check, directory, &release)?;
        }
    }
    cgroups(check)
}

fn modules(check: &mut Check<'_>, directory: &str, release: &str) -> Result<()> {
    let Some(loadable) = check.text(format!("{directory}/{release}/modules.dep"))? else {
        let cure = check.shell.run(&format!("depmod {release}"));
        check.error("modules", format!("kernel {release} has no modules.dep: modprobe finds nothing"), cure);
        return Ok(());
    };
    let builtin = check.text(format!("{directory}/{release}/modules.builtin"))?.unwrap_or_default();
    // `kernel/fs/overlayfs/overlay.ko.zst: …` and `kernel/fs/overlayfs/overlay.ko`.
    let files = loadable.lines().filter_map(|line| line.split(':').next()).chain(builtin.lines());
    let names: BTreeSet<String> = files
        .filter_map(|file| file.rsplit('/').next()?.split(".ko").next())
        .map(|name| name.replace('-', "_"))
        .collect();
    for (module, severity, why) in MODULES {
        if !names.contains(module) {
            let cure = check.install(&format!("linux-modules-extra-{release}"));
            let cure =
                format!("{cure}; on Debian, linux-image-amd64 or linux-image-arm64 in the place of a smaller kernel");
            check.find(severity, "modules", format!("kernel {release} has no module {module}: {why}"), cure);
        }
    }
    Ok(())
}

/// Files from which the kernel's command line is made.
const COMMAND_LINES: [&str; 3] = ["etc/default/grub", "etc/kernel/cmdline", "boot/grub/grub.cfg"];

/// systemd takes cgroup v2 unless it is told otherwise; Kubernetes 1.35 refuses v1.
fn cgroups(check: &mut Check<'_>) -> Result<()> {
    let mut files: Vec<String> = COMMAND_LINES.map(str::to_owned).into();
    for (directory, ending) in [("etc/default/grub.d", ".cfg"), ("boot/loader/entries", ".conf")] {
        let names = check.names(directory)?.into_iter().filter(|name| name.ends_with(ending));
        files.extend(names.map(|name| format!("{directory}/{name}")));
    }
    for file in files {
        let Some(text) = check.text(&file)? else { continue };
        let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
        let words = lines.flat_map(|line| line.split(|c: char| c.is_whitespace() || matches!(c, '"' | '\'')));
        if let Some(word) = words.into_iter().find(|word| forces_v1(word)) {
            let cure =
                format!("{} && {}", check.edit(&format!("sed -i 's/{word}//'"), &file), check.shell.run("update-grub"));
            let message = format!("/{file} has `{word}`: this boots with cgroup v1, which Kubernetes 1.35 refuses");
            check.warning("cgroups", message, cure);
        }
    }
    Ok(())
}

/// kernel-command-line(7) of systemd; `parse_boolean` of it.
fn forces_v1(word: &str) -> bool {
    let no = |value: &str| ["0", "no", "n", "false", "f", "off"].contains(&value.to_ascii_lowercase().as_str());
    word.strip_prefix("systemd.unified_cgroup_hierarchy=").is_some_and(no)
        || word == "SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1"
}
