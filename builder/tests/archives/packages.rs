//! What the builder promises about Debian packages: they travel whole, and are what the spec says they are.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use flexnode_build::artifact::Arch;
use flexnode_build::digest::Digest;
use flexnode_build::failure::{Class, Failure};
use flexnode_build::overlay::{Entry, Mode, Overlay};
use flexnode_build::request::Package;
use flexnode_build::stage::package::Control;
use flexnode_build::stage::stage;
use flexnode_build::target::Target;

use super::debian;
use super::forge::{Tar, ar, gz, xz, zst};

const CONTROL: &str = "Package: tool\nVersion: 1:2.0-1\nArchitecture: amd64\nDescription: a tool\n";

/// As dpkg-deb makes it, with this control archive.
fn deb(name: &str, control: &[u8]) -> Vec<u8> {
    ar(&[("debian-binary", b"2.0\n"), (name, control), ("data.tar", &Tar::default().end())])
}

fn control(text: &str) -> Vec<u8> {
    Tar::default().file("./control", text.as_bytes()).end()
}

fn pinned(name: &str, version: &str, bytes: &[u8]) -> Package {
    Package {
        name: name.to_owned(),
        version: version.to_owned(),
        url: "https://example.org/tool.deb".to_owned(),
        sha256: Digest::of(bytes),
        size: None,
        license: "NOASSERTION".to_owned(),
    }
}

fn staged(package: &Package, bytes: &[u8]) -> anyhow::Result<Overlay> {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("blob");
    fs::write(&path, bytes)?;
    let mut overlay = Overlay::default();
    let blob = Arc::new(File::open(path)?);
    stage(&package.artifact()?, &blob, Arch::Amd64, Target::Ubuntu2204, dir.path(), &mut overlay)?;
    Ok(overlay)
}

#[test]
fn a_package_of_debian_travels_whole_under_its_name_and_version() {
    let path = debian::package("bookworm", "hello");
    let bytes = fs::read(&path).unwrap();
    let control = Control::read(&*bytes).unwrap();
    let shown = Command::new("dpkg-deb").args(["--show", "--showformat=${Version}"]).arg(&path).output().unwrap();
    assert_eq!(control.version, String::from_utf8(shown.stdout).unwrap());
    assert_eq!(control.depends, [["libc6"]]);
    assert!(control.built.is_some());

    let overlay = staged(&pinned("hello", &control.version, &bytes), &bytes).unwrap();
    let [(path, Entry::File(file))] = overlay.iter().collect::<Vec<_>>()[..] else { panic!("{overlay:?}") };
    assert_eq!(path.as_str(), format!("usr/share/flexnode/debs/hello_{}.deb", control.version));
    assert_eq!((file.sha256, file.mode, file.size), (Digest::of(&bytes), Mode::FILE, bytes.len() as u64));
}

#[test]
fn each_compression_of_the_control_archive_is_read_and_the_epoch_is_no_part_of_the_files_name() {
    // Of every architecture: for these nodes, too.
    let tar = control(&CONTROL.replace("amd64", "all"));
    for (name, archive) in [
        ("control.tar", tar.clone()),
        ("control.tar.gz", gz(&tar)),
        ("control.tar.xz", xz(&tar)),
        ("control.tar.zst", zst(&tar)),
    ] {
        let bytes = deb(name, &archive);
        let overlay = staged(&pinned("tool", "1:2.0-1", &bytes), &bytes).unwrap();
        let path = "usr/share/flexnode/debs/tool_2.0-1.deb".parse().unwrap();
        assert!(overlay.get(&path).is_some(), "{name}");
    }
}

#[test]
fn a_package_that_is_not_what_was_pinned_is_refused() {
    let good = deb("control.tar", &control(CONTROL));
    let with = |text: &str| deb("control.tar", &control(text));
    let arm = with(&CONTROL.replace("amd64", "arm64"));
    let nameless = with("Version: 1:2.0-1\nArchitecture: all\n");
    let empty = deb("control.tar", &Tar::default().file("./md5sums", b"").end());
    let bomb = deb("control.tar.gz", &gz(&Tar::default().file("./md5sums", &vec![0; 65 << 20]).end()));
    let long = deb("control.tar.gz", &gz(&control(&" ".repeat(2 << 20))));
    let cases: [(&str, &str, &[u8], &str); 9] = [
        ("tool", "1:2.1-1", &good, "it is the package tool 1:2.0-1"),
        ("other", "1:2.0-1", &good, "it is the package tool 1:2.0-1"),
        ("tool", "1:2.0-1", &arm, "it is a package for arm64, the nodes are amd64"),
        ("tool", "1:2.0-1", &nameless, "the control file has no Package"),
        ("tool", "1:2.0-1", &empty, "the package has no control file"),
        ("tool", "1:2.0-1", &bomb, "unpacks to more than 67108864 bytes"),
        ("tool", "1:2.0-1", &long, "its control file is 2097152 bytes long"),
        ("tool", "1:2.0-1", &good[..200], "is truncated"),
        ("tool", "1:2.0-1", b"<html>not found</html>", "is no Debian package"),
    ];
    for (name, version, bytes, words) in cases {
        let error = staged(&pinned(name, version, bytes), bytes).unwrap_err();
        let (class, hint) = Failure::describe(&error);
        assert!(class == Class::Verification && hint.is_some(), "{words}: {error:#}");
        assert!(format!("{error:#}").contains(words), "{words}: {error:#}");
    }

    let mut flipped = good.clone();
    let last = flipped.len() - 1;
    flipped[last] ^= 1;
    let error = staged(&pinned("tool", "1:2.0-1", &good), &flipped).unwrap_err();
    assert!(format!("{error:#}").contains("pinned is"), "{error:#}");
}

#[test]
fn a_name_that_could_lead_elsewhere_is_refused() {
    for (name, version) in [("../../etc/cron.d/x", "1"), ("x/y", "1"), ("tool", "../1"), ("tool", ""), ("", "1")] {
        let error = pinned(name, version, b"").artifact().unwrap_err();
        assert_eq!(Failure::describe(&error).0, Class::Usage, "{name} {version}");
    }
}

#[test]
fn the_date_is_the_one_that_the_packager_gave() {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    fs::create_dir_all(tree.join("DEBIAN")).unwrap();
    fs::write(tree.join("DEBIAN/control"), format!("{CONTROL}Maintainer: Nobody <nobody@example.org>\n")).unwrap();
    let built = |epoch: &str| {
        let deb = dir.path().join("tool.deb");
        let status = Command::new("dpkg-deb")
            .env("SOURCE_DATE_EPOCH", epoch)
            .args(["--root-owner-group", "--build"])
            .args([&tree as &Path, &deb])
            .output()
            .unwrap()
            .status;
        assert!(status.success());
        Control::read(File::open(deb).unwrap()).unwrap().built.map(|day| day.to_string())
    };
    assert_eq!(built("1735689600").as_deref(), Some("2025-01-01"));
    assert_eq!(built("0"), None, "no date is no age");
}
