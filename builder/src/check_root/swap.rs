//! Swap, with which the kubelet does not start.

use anyhow::Result;

use super::Check;
use super::dpkg::Packages;
use super::kubelet;
use crate::finding::Severity;

pub(super) fn check(check: &mut Check<'_>, packages: &Packages) -> Result<()> {
    let (severity, consequence) = if kubelet::fails_on_swap(check)? {
        (Severity::Error, "the kubelet does not start with swap")
    } else {
        (Severity::Note, "the kubelet's failSwapOn is false")
    };
    if let Some(table) = check.text("etc/fstab")? {
        for device in table.lines().filter_map(swap_at_boot) {
            let sed = r"sed -i -E '/^\s*[^#[:space:]]\S*\s+\S+\s+swap(\s|$)/s/^/#/'";
            let cure = check.edit(sed, "etc/fstab");
            check.find(severity, "swap", format!("/etc/fstab turns on swap on {device}: {consequence}"), cure);
        }
    }
    for directory in ["etc/systemd/system", "usr/lib/systemd/system"] {
        for unit in check.names(directory)?.into_iter().filter(|name| name.ends_with(".swap")) {
            if check.is_masked(&unit)? || (directory == "usr/lib/systemd/system" && !check.is_enabled(&unit)?) {
                continue;
            }
            // What is in /etc cannot be masked.
            let cure = match directory {
                "etc/systemd/system" => check.edit("rm", format!("{directory}/{unit}")),
                _ => check.shell.run(&format!("systemctl mask {unit}")),
            };
            check.find(severity, "swap", format!("/{directory}/{unit} turns on swap: {consequence}"), cure);
        }
    }
    for (package, configuration) in
        [("zram-tools", "etc/default/zramswap"), ("systemd-zram-generator", "etc/systemd/zram-generator.conf")]
    {
        if packages.version(package).is_some() && check.is_there(configuration)? {
            let cure = check.shell.run(&format!("apt-get purge -y {package}"));
            check.find(severity, "swap", format!("{package} turns on swap in memory: {consequence}"), cure);
        }
    }
    Ok(())
}

/// The device of a line of fstab(5) that turns on swap: device, mount point, type, options.
fn swap_at_boot(line: &str) -> Option<&str> {
    let fields: Vec<_> = line.split_whitespace().collect();
    let (device, kind) = (*fields.first()?, *fields.get(2)?);
    let later = fields.get(3).is_some_and(|options| options.split(',').any(|option| option == "noauto"));
    (kind == "swap" && !device.starts_with('#') && !later).then_some(device)
}
