//! Honest archives that look unusual, and what the lock says about them.

use flexnode_build::artifact::{Kind, Ownership};
use flexnode_build::digest::Digest;
use flexnode_build::failure::{Class, Failure};
use flexnode_build::overlay::{Entry, Mode};
use flexnode_build::stage::archive::Limits;

use super::forge::{MAGIC, Tar, ar, deb, gz, pax, xz, zst};
use super::{TOOL, artifact, content, extract_into_empty, stage_bytes, take};

#[test]
fn honest_archives_of_every_style_give_their_bytes() {
    let long = format!("{}/tool", "d".repeat(90).as_str());
    let deep = format!("{long}-{}", "n".repeat(90));
    let gnu = |tar: Tar| tar.extension(b'L', format!("./{deep}\0").as_bytes()).file("cut", TOOL).end();
    let rooted = Tar::default().directory("./").directory("./bin/").file("./bin/tool", TOOL).end();
    let cases: [(&str, Kind, Vec<u8>, &str); 15] = [
        ("plain", Kind::Tar, Tar::with_tool().end(), "bin/tool"),
        ("padded to a record", Kind::Tar, [Tar::with_tool().end(), vec![0; 8192]].concat(), "bin/tool"),
        ("CNI's", Kind::TarGz, gz(&rooted), "bin/tool"),
        ("wanted with ./", Kind::TarGz, gz(&rooted), "./bin/tool"),
        ("two gzip members", Kind::TarGz, [gz(&rooted[..700]), gz(&rooted[700..])].concat(), "bin/tool"),
        ("GNU long name", Kind::Tar, gnu(Tar::default()), &deep),
        (
            "pax path",
            Kind::Tar,
            Tar::default()
                .extension(b'g', &pax("comment", b"3d6eb21"))
                .extension(b'x', &[pax("mtime", b"1.5"), pax("path", deep.as_bytes()), pax("uid", b"0")].concat())
                .file("cut", TOOL)
                .end(),
            &deep,
        ),
        (
            "ustar prefix",
            Kind::Tar,
            Tar::default().member(b"tool", b'0', TOOL, |header| header.prefix(&long.as_bytes()[..90])).end(),
            &long,
        ),
        (
            "V7, from before the magic",
            Kind::Tar,
            Tar::default().member(b"bin/tool", b'\0', TOOL, |header| header.text(MAGIC, &[0; 8])).end(),
            "bin/tool",
        ),
        (
            "links within",
            Kind::Tar,
            Tar::with_tool().link(b'2', "sbin/tool", "../bin/./tool").link(b'1', "x", "./bin/tool").end(),
            "bin/tool",
        ),
        ("deb, gz", Kind::Deb, deb("data.tar.gz", &gz(&rooted)), "bin/tool"),
        ("deb, xz", Kind::Deb, deb("data.tar.xz", &xz(&rooted)), "bin/tool"),
        ("deb, zst", Kind::Deb, deb("data.tar.zst", &zst(&rooted)), "bin/tool"),
        (
            "deb with a link from its root",
            Kind::Deb,
            deb("data.tar/", &Tar::default().link(b'2', "sbin/tool", "/bin/tool").file("bin/tool", TOOL).end()),
            "bin/tool",
        ),
        (
            "deb with a signature",
            Kind::Deb,
            ar(&[
                ("debian-binary", b"2.0\n"),
                ("control.tar.gz", b"odd"),
                ("data.tar", &rooted),
                ("_gpgorigin", b"odd"),
            ]),
            "bin/tool",
        ),
    ];
    for (name, kind, bytes, wanted) in cases {
        let mut artifact = artifact(kind);
        artifact.install[0].member = Some(wanted.to_owned());
        let files = extract_into_empty(&artifact, &bytes, &Limits::default());
        let files = files.unwrap_or_else(|error| panic!("{name}: {error:#}"));
        assert_eq!(content(&files[0]), TOOL, "{name}");
        assert_eq!((files[0].size, files[0].sha256), (TOOL.len() as u64, Digest::of(TOOL)), "{name}");
    }
}

#[test]
fn the_lock_sets_modes_and_any_owner_may_be_allowed() {
    let tar = Tar::default().member(b"bin/tool", b'0', TOOL, |header| {
        header.owner(1001, 127);
        header.mode(0o600);
    });
    let mut artifact = artifact(Kind::Tar);
    artifact.ownership = Ownership::Any;
    let overlay = stage_bytes(&artifact, &tar.end()).unwrap();
    let Some(Entry::File(file)) = overlay.get(&artifact.install[0].path) else { panic!("no file") };
    assert_eq!((file.mode, file.component.as_deref()), (Mode::EXECUTABLE, Some("tool")));
}

#[test]
fn a_missing_member_is_answered_with_the_nearest() {
    let hint = |tar: Tar| {
        let error = take(Kind::Tar, &tar.end(), &Limits::default()).expect_err("it is missing");
        Failure::describe(&error).1.unwrap().to_owned()
    };
    assert_eq!(hint(Tar::default().file("usr/bin/tool", b"").file("README", b"")), "did you mean `usr/bin/tool`?");
    assert_eq!(hint(Tar::default().file("bin/tools", b"").file("README", b"")), "did you mean `bin/tools`?");
    assert_eq!(hint(Tar::default().file("README", b"")), "it holds `README`");
    assert_eq!(hint(Tar::default()), "it holds no files");
}

#[test]
fn an_install_list_that_does_not_fit_is_a_usage_error() {
    let mut artifact = artifact(Kind::Tar);
    artifact.install[0].member = None;
    let error = stage_bytes(&artifact, &Tar::with_tool().end()).expect_err("which member?");
    assert_eq!(Failure::describe(&error).0, Class::Usage);
    assert_eq!(format!("{error:#}"), "unpack tool 1.2.3: nothing says which member becomes `/opt/tool`");
}

#[test]
fn a_file_that_changed_after_its_verification_is_refused() {
    let mut artifact = artifact(Kind::Binary);
    artifact.install[0].member = None;
    artifact.sha256 = Digest::of(TOOL);
    stage_bytes(&artifact, TOOL).expect("these are the pinned bytes");
    let error = stage_bytes(&artifact, b"#!/bin/evil\n").expect_err("these are not");
    assert_eq!(Failure::describe(&error).0, Class::Verification);
}
