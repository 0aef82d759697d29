//! The same inputs give the same bytes, on any machine and from a lock.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use super::{builder, bundle, cache, lab, program, refused, run};

#[test]
fn the_same_inputs_give_the_same_bytes_whatever_the_machine() {
    let elsewhere = tempfile::tempdir().unwrap();
    let at = |name: &str| elsewhere.path().join(name);
    fs::set_permissions(elsewhere.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let firstboot = program().with_file_name("flexnode-firstboot");
    run(Command::new("cp").arg("-rL").args([&program(), &firstboot, &lab().manifests(), &lab().mirror(), &at("")]));
    let output = at("another name.tar.zst");

    // Another directory, user, umask, locale, time zone, number of threads; a cold cache.
    let mut other = Command::new("setpriv");
    other.args(["--reuid=65534", "--regid=65534", "--clear-groups", "sh", "-c"]);
    other.arg(
        "umask 077; exec ./flexnode-build --k8s 1.30 --jobs 1 --offline --manifests manifests --mirror mirror \
         --cache-dir cold -o 'another name.tar.zst'",
    );
    other.current_dir(elsewhere.path()).env_clear().env("PATH", "/usr/bin:/bin");
    run(other.env("LC_ALL", "tr_TR.UTF-8").env("TZ", "Pacific/Kiritimati"));
    assert!(fs::read(&output).unwrap() == fs::read(bundle()).unwrap(), "the bytes differ");

    // Warm, with more threads.
    run(builder(&at("cold"), &["--k8s", "1.30", "--jobs", "4", "-o"]).arg(&output).env("TZ", "UTC"));
    assert!(fs::read(&output).unwrap() == fs::read(bundle()).unwrap(), "the bytes differ");
}

#[test]
fn source_date_epoch_is_every_members_time() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bundle.tar.zst");
    run(builder(&cache(), &["--k8s", "1.30", "--level", "1", "-o"]).arg(&path).env("SOURCE_DATE_EPOCH", "1700000000"));
    let listed = run(Command::new("tar").args(["--zstd", "--full-time", "--utc", "-tvf"]).arg(&path));
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.lines().all(|line| line.contains("root/root") || line.contains("0/0")), "{listed}");
    assert!(listed.lines().all(|line| line.contains("2023-11-14 22:13:20")), "{listed}");
    assert!(listed.lines().next().unwrap().ends_with("usr/share/flexnode/bundle.json"));

    let refusal = refused(builder(&cache(), &["--k8s", "1.30", "-o"]).arg(&path).env("SOURCE_DATE_EPOCH", "today"), 2);
    assert!(refusal.contains("error: SOURCE_DATE_EPOCH is `today`") && refusal.contains("hint: "), "{refusal}");
}

#[test]
fn a_lock_builds_the_same_bundle_and_refuses_another_request() {
    let dir = tempfile::tempdir().unwrap();
    let (lock, path) = (dir.path().join("flexnode.lock"), dir.path().join("bundle.tar.zst"));
    let mut make = Command::new(program());
    run(make.args(["lock", "--k8s", "1.30", "--manifests"]).arg(lab().manifests()).arg("-o").arg(&lock));
    // The lock alone is enough: no catalog of the lab, only its mirror.
    let locked = |args: &[&str]| {
        let mut command = Command::new(program());
        command.args(["--offline", "--mirror"]).arg(lab().mirror()).arg("--lock").arg(&lock).args(args);
        command.env("FLEXNODE_CACHE_DIR", cache());
        command
    };
    run(locked(&["-o"]).arg(&path));
    assert!(fs::read(&path).unwrap() == fs::read(bundle()).unwrap(), "the bytes differ");
    let stderr = refused(&mut locked(&["--k8s", "1.31", "-o", "/nonexistent/bundle"]), 3);
    assert!(
        stderr.contains("it has Kubernetes 1.30.0, --k8s asks for 1.31") && stderr.contains("hint: renew it: "),
        "{stderr}"
    );
}
