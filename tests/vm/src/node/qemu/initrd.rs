//! The first files of a virtual machine: busybox, and the modules without which there is no disk and no line to the lab.

use std::fs::{self, File, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::SystemTime;

use anyhow::{Context as _, Result, ensure};

use crate::lab::Kernel;

/// What is not built into Debian's kernel for clouds comes with what it depends on.
const MODULES: [&str; 5] = ["virtio_pci", "virtio_blk", "virtio_net", "virtio_console", "ext4"];

/// Writes the initrd for this kernel to `to`. The same kernel and busybox give the same bytes.
pub(super) fn write(kernel: &Kernel, to: &Path) -> Result<()> {
    let dir = tempfile::tempdir().context("create a folder for the initrd")?;
    let at = |path: &str| dir.path().join(path);
    for path in ["bin", "modules"] {
        fs::create_dir(at(path)).context("create a folder for the initrd")?;
    }
    let mut files = vec!["bin".to_owned(), "bin/busybox".to_owned(), "init".to_owned(), "modules".to_owned()];
    fs::copy(busybox()?, at("bin/busybox")).context("copy busybox")?;
    fs::write(at("init"), include_str!("init.sh")).context("write the initrd's first program")?;
    let modules = in_order(kernel)?;
    let mut list = String::new();
    for module in &modules {
        let name = Path::new(module).file_name().context("name a module")?.to_string_lossy();
        fs::copy(kernel.modules().join(module), at("modules").join(&*name)).context("copy a module")?;
        list += &format!("{name}\n");
        files.push(format!("modules/{name}"));
    }
    fs::write(at("modules.list"), list).context("list the modules")?;
    files.push("modules.list".to_owned());
    for file in &files {
        fs::set_permissions(at(file), Permissions::from_mode(0o755)).context("set a mode")?;
        let open = File::open(at(file)).context("open a file of the initrd")?;
        open.set_modified(SystemTime::UNIX_EPOCH).context("set a file's time")?;
    }
    pack(dir.path(), &files, to)
}

fn pack(dir: &Path, files: &[String], to: &Path) -> Result<()> {
    let mut cpio = Command::new("cpio")
        .args(["--create", "--format=newc", "--quiet", "--reproducible", "--owner=0:0"])
        .current_dir(dir)
        .stdin(Stdio::piped())
        .stdout(File::create(to).context("create the initrd")?)
        .spawn()
        .context("run cpio")?;
    let mut list = cpio.stdin.take().context("talk to cpio")?;
    list.write_all((files.join("\n") + "\n").as_bytes()).context("talk to cpio")?;
    drop(list);
    let status = cpio.wait().context("wait for cpio")?;
    ensure!(status.success(), "cpio ended with {status}");
    Ok(())
}

/// Of busybox-static: what there is before the disk has no libraries.
fn busybox() -> Result<PathBuf> {
    let places = ["/usr/bin/busybox", "/bin/busybox"].map(PathBuf::from);
    places.into_iter().find(|path| path.exists()).context("find busybox, of busybox-static")
}

/// The modules' files below the kernel's folder, each behind those that it needs.
fn in_order(kernel: &Kernel) -> Result<Vec<String>> {
    let text = fs::read_to_string(kernel.modules().join("modules.dep")).context("read the modules' needs")?;
    let mut files = Vec::new();
    for module in MODULES {
        for file in needed(&text, module) {
            if !files.contains(&file) {
                files.push(file);
            }
        }
    }
    Ok(files)
}

/// depmod names a module's needs with the nearest first. What it does not list is built in.
fn needed(dependencies: &str, module: &str) -> Vec<String> {
    let name = |file: &str| Path::new(file).file_name().is_some_and(|name| name == format!("{module}.ko").as_str());
    let found = dependencies.lines().filter_map(|line| line.split_once(':')).find(|(file, _)| name(file));
    let Some((file, needs)) = found else { return Vec::new() };
    needs.split_whitespace().rev().chain([file]).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_comes_behind_what_it_needs_and_what_is_built_in_is_left_out() {
        let text = "kernel/a/virtio_net.ko: kernel/b/net_failover.ko kernel/b/failover.ko\nkernel/b/failover.ko:\n";
        let all = ["kernel/b/failover.ko", "kernel/b/net_failover.ko", "kernel/a/virtio_net.ko"];
        assert_eq!(needed(text, "virtio_net"), all);
        assert_eq!(needed(text, "net"), Vec::<String>::new());
    }
}
