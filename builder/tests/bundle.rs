//! What a bundle promises: whole or refused, the same bytes from the same inputs, a complete installation with GNU tar.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use flexnode_build::atomic::Partial;
use flexnode_build::bundle::{Bundle, Manifest, Packing, diff, digest_file_of, inspect, pack, verify};
use flexnode_build::catalog::Catalog;
use flexnode_build::digest::Digest;
use flexnode_build::overlay::{Content, Entry, FileEntry, Mode, Overlay};
use flexnode_build::request::Request;
use flexnode_build::resolve::resolve;
use flexnode_build::text::printable;
use proptest::prelude::{ProptestConfig, any, proptest};

const EPOCH: u64 = 315_532_800;

fn file(bytes: &[u8], mode: Mode, component: Option<&str>) -> Entry {
    let component = component.map(str::to_owned);
    let (size, sha256) = (bytes.len() as u64, Digest::of(bytes));
    Entry::File(FileEntry { mode, size, sha256, content: Content::Bytes(bytes.into()), component })
}

/// A small overlay with every kind of entry, a long name among them.
fn overlay(kubelet: &[u8], config: &str) -> Overlay {
    let mut overlay = Overlay::default();
    let mut insert = |path: &str, entry| overlay.insert(path.parse().unwrap(), entry).unwrap();
    insert("etc/flexnode", Entry::Directory(Mode::DIRECTORY));
    insert("etc/flexnode/config", file(config.as_bytes(), Mode::FILE, None));
    insert("usr/local/bin/kubelet", file(kubelet, Mode::EXECUTABLE, Some("kubelet")));
    insert(&format!("opt/{}", "long/".repeat(30) + "name"), file(b"far away", Mode::FILE, None));
    insert("etc/systemd/system/multi-user.target.wants/a.service", Entry::Link { target: "../a.service".to_owned() });
    overlay
}

fn manifest(overlay: &Overlay) -> Manifest {
    let request = Request { kubernetes: Some("1.30".parse().unwrap()), ..Request::default() };
    let lock = resolve(request, &Catalog::embedded().unwrap()).unwrap().lock;
    Manifest::new(&lock, Vec::new(), overlay, EPOCH)
}

fn build(path: &Path, overlay: &Overlay, jobs: u32) {
    let packing = Packing { level: 3, jobs, epoch: EPOCH };
    pack(&manifest(overlay), overlay, Partial::create(path).unwrap(), packing, &|_| ()).unwrap();
}

fn built(dir: &Path, name: &str, config: &str) -> PathBuf {
    let path = dir.join(name);
    build(&path, &overlay(b"\x7fELF kubelet", config), 2);
    path
}

fn problems(path: &Path) -> Vec<String> {
    verify::verify(path).unwrap().problems
}

#[test]
fn a_whole_bundle_verifies_and_says_what_is_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = built(dir.path(), "bundle.tar.zst", "a: 1\n");
    let report = verify::verify(&path).unwrap();
    assert!(report.ok && report.digest_file, "{:?}", report.problems);
    assert_eq!((report.files, report.bytes), (3, 5 + 12 + 8));
    insta::assert_snapshot!(inspect::describe(&Bundle::manifest(&path).unwrap(), true));
}

#[test]
fn the_bytes_do_not_depend_on_threads() {
    let dir = tempfile::tempdir().unwrap();
    let noise: Vec<u8> = (0..3_000_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let overlay = overlay(&noise, "a: 1\n");
    let digests = [1, 2, 4].map(|jobs| {
        let path = dir.path().join(format!("{jobs}.tar.zst"));
        build(&path, &overlay, jobs);
        Digest::of(&fs::read(&path).unwrap())
    });
    assert!(digests.iter().all(|digest| *digest == digests[0]), "{digests:?}");
}

#[test]
fn gnu_tar_and_stock_zstd_unpack_it_completely() {
    let dir = tempfile::tempdir().unwrap();
    let path = built(dir.path(), "bundle.tar.zst", "a: 1\n");
    let root = dir.path().join("root");
    fs::create_dir(&root).unwrap();
    let tar = Command::new("tar").args(["--zstd", "-xpf"]).arg(&path).arg("-C").arg(&root).output().unwrap();
    assert!(tar.status.success() && tar.stderr.is_empty(), "{}", String::from_utf8_lossy(&tar.stderr));
    assert_eq!(fs::read(root.join("usr/local/bin/kubelet")).unwrap(), b"\x7fELF kubelet");
    let link = root.join("etc/systemd/system/multi-user.target.wants/a.service");
    assert_eq!(fs::read_link(link).unwrap(), Path::new("../a.service"));

    let check =
        Command::new("sha256sum").arg("-c").arg(digest_file_of(&path)).current_dir(dir.path()).output().unwrap();
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stderr));
}

#[test]
fn verify_lists_every_problem_and_not_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bundle.tar.zst");
    let honest = overlay(b"\x7fELF kubelet", "a: 1\n");
    let manifest = manifest(&honest);

    // An archive that keeps the manifest and nothing else of its promises.
    let encoder = zstd::Encoder::new(fs::File::create(&path).unwrap(), 3).unwrap();
    let mut archive = tar::Builder::new(encoder);
    let mut add = |name: &str, bytes: &[u8], mode, uid, mtime| {
        let mut header = tar::Header::new_gnu();
        header.set_mode(mode);
        header.set_uid(uid);
        header.set_gid(0);
        header.set_mtime(mtime);
        header.set_size(bytes.len() as u64);
        archive.append_data(&mut header, name, bytes).unwrap();
    };
    add("usr/share/flexnode/bundle.json", &serde_json::to_vec(&manifest).unwrap(), 0o644, 0, EPOCH);
    add("usr/local/bin/kubelet", b"\x7fELF evil let", 0o4755, 1000, 0);
    add("etc/flexnode/config", b"a: 1\n", 0o644, 0, EPOCH);
    add("etc/flexnode/config", b"a: 1\n", 0o644, 0, EPOCH);
    add("etc/shadow", b"root::0:0:99999:7:::\n", 0o600, 0, EPOCH);
    archive.into_inner().unwrap().finish().unwrap();
    fs::write(digest_file_of(&path), format!("{}  bundle.tar.zst\n", Digest::of(b"another"))).unwrap();

    // The archive's own digest depends on the version of bundle.json's writer.
    let sha256 = Digest::of(&fs::read(&path).unwrap()).to_string();
    insta::assert_snapshot!(problems(&path).join("\n").replace(&sha256, "[sha256]"));
}

#[test]
fn what_is_no_bundle_is_refused_in_words() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bundle.tar.zst");
    let empty = zstd::encode_all(&b""[..], 3).unwrap();
    for (bytes, words) in
        [(&b"<html>"[..], "damaged or no bundle"), (b"", "damaged or no bundle"), (&empty, "the archive is empty")]
    {
        fs::write(&path, bytes).unwrap();
        assert!(problems(&path).join("\n").contains(words), "{:?}", problems(&path));
        assert!(Bundle::manifest(&path).is_err());
    }
    let whole = fs::read(built(dir.path(), "whole.tar.zst", "a: 1\n")).unwrap();
    fs::write(&path, [&whole[..], &zstd::encode_all(&b"more"[..], 3).unwrap()].concat()).unwrap();
    assert!(problems(&path).join("\n").contains("after the end of the archive"), "{:?}", problems(&path));
    for cut in [1, 10, whole.len() / 2, whole.len() - 1] {
        fs::write(&path, &whole[..cut]).unwrap();
        assert!(!problems(&path).is_empty(), "cut to {cut} bytes");
    }
}

#[test]
fn a_bundle_without_its_digest_file_is_checked_by_content() {
    let dir = tempfile::tempdir().unwrap();
    let path = built(dir.path(), "bundle.tar.zst", "a: 1\n");
    fs::remove_file(digest_file_of(&path)).unwrap();
    let report = verify::verify(&path).unwrap();
    assert!(report.ok && !report.digest_file);
}

#[test]
fn diff_shows_changed_files_and_text() {
    let dir = tempfile::tempdir().unwrap();
    let before = built(dir.path(), "before.tar.zst", "a: 1\nb: 2\n");
    let after = built(dir.path(), "after.tar.zst", "a: 1\nb: \x1b[31m3\n");
    // As the program prints it: what is in a bundle must not steer the terminal.
    insta::assert_snapshot!(printable(&diff::describe(&diff::diff(&before, &after).unwrap())));
    assert!(diff::diff(&before, &before).unwrap().is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_flipped_byte_is_refused(at in any::<proptest::sample::Index>(), mask in 1_u8..=255) {
        static WHOLE: OnceLock<(Vec<u8>, Vec<u8>)> = OnceLock::new();
        let (archive, digest) = WHOLE.get_or_init(|| {
            let dir = tempfile::tempdir().unwrap();
            let path = built(dir.path(), "bundle.tar.zst", "a: 1\n");
            (fs::read(&path).unwrap(), fs::read(digest_file_of(&path)).unwrap())
        });
        let (mut archive, mut digest) = (archive.clone(), digest.clone());
        let at = at.index(archive.len() + digest.len());
        *archive.iter_mut().chain(&mut digest).nth(at).unwrap() ^= mask;

        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bundle.tar.zst");
        fs::write(&path, archive).unwrap();
        fs::write(digest_file_of(&path), digest).unwrap();
        assert!(!problems(&path).is_empty(), "byte {at} was flipped unnoticed");
    }
}
