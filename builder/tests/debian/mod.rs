//! Real programs for tests: packages of any Debian suite, fetched by apt from the mirror this machine already uses.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The package's file, from the cache below `target/tmp` or downloaded into it.
///
/// apt works in a root of its own there: the system's lists, cache and sources stay as they are.
pub(crate) fn package(suite: &str, name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("debian").join(suite);
    for directory in ["lists/partial", "cache/archives/partial", "parts", "preferences"] {
        fs::create_dir_all(root.join(directory)).unwrap();
    }
    // Tests run in parallel threads and processes; one of them downloads.
    let lock = File::create(root.join("lock")).unwrap();
    lock.lock().unwrap();
    let cached = |root: &Path| {
        let mut files = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path());
        files.find(|path| {
            let file_name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            file_name.starts_with(&format!("{name}_")) && file_name.ends_with(".deb")
        })
    };
    if let Some(path) = cached(&root) {
        return path;
    }
    let keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";
    let source = format!("deb [signed-by={keyring}] {} {suite} main\n", mirror());
    fs::write(root.join("sources.list"), source).unwrap();
    if !root.join("lists/updated").exists() {
        apt(&root, &["update"]);
        File::create(root.join("lists/updated")).unwrap();
    }
    apt(&root, &["download", name]);
    cached(&root).unwrap_or_else(|| panic!("apt downloaded no {name} from {suite}"))
}

fn apt(root: &Path, arguments: &[&str]) {
    let directory = |key: &str, at: &str| format!("-oDir::{key}={}", root.join(at).display());
    let output = Command::new("apt-get")
        .current_dir(root)
        .args([directory("Etc::sourcelist", "sources.list"), directory("Etc::sourceparts", "parts")])
        .args([directory("Etc::preferencesparts", "preferences"), directory("State::lists", "lists")])
        .args([
            directory("Cache", "cache"),
            "-oAPT::Sandbox::User=root".to_owned(),
            "-oAcquire::Languages=none".to_owned(),
        ])
        .args(arguments)
        .output()
        .expect("run apt-get");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "apt-get {arguments:?} in {}: {errors}", root.display());
}

/// The Debian mirror in the system's sources, in apt's old or new format.
fn mirror() -> String {
    let parts = fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten().map(|entry| entry.unwrap().path());
    let files = parts.chain([PathBuf::from("/etc/apt/sources.list")]);
    let text: String = files
        .filter(|path| path.extension().is_some_and(|extension| extension == "sources" || extension == "list"))
        .filter_map(|path| fs::read_to_string(path).ok())
        .collect();
    let mut words = text.lines().filter(|line| !line.starts_with('#')).flat_map(str::split_whitespace);
    let uri = words.find(|word| word.contains("://") && word.trim_end_matches('/').ends_with("/debian"));
    uri.expect("a Debian mirror in /etc/apt").to_owned()
}
