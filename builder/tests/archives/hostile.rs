//! Archives that must not be unpacked.

use std::io::Write as _;

use flexnode_build::artifact::Kind;
use flexnode_build::stage::archive::Limits;

use super::forge::{SIZE, Tar, ar, deb, gz, pax, xz, zst};
use super::{Case, TOOL, assert_refused, spoiled, take};

#[test]
fn every_hostile_tar_is_refused_with_its_reason() {
    let cases = hostile_tars();
    assert_refused(Kind::Tar, &cases);
    // Wrapping changes nothing.
    let wrapped = |wrap: fn(&[u8]) -> Vec<u8>| {
        cases.iter().map(|(name, tar, reason)| (*name, wrap(tar), *reason)).collect::<Vec<Case>>()
    };
    assert_refused(Kind::TarGz, &wrapped(gz));
    assert_refused(Kind::Deb, &wrapped(|tar| deb("data.tar.gz", &gz(tar))));
    assert_refused(Kind::Deb, &wrapped(|tar| deb("data.tar.xz", &xz(tar))));
    assert_refused(Kind::Deb, &wrapped(|tar| deb("data.tar.zst", &zst(tar))));
}

fn hostile_tars() -> Vec<Case> {
    let tool = Tar::with_tool;
    let file = |name: &str| tool().file(name, b"x").end();
    let symlink = |name: &str, target: &str| tool().link(b'2', name, target).end();
    let kind = |kind: u8| tool().member(b"dev/x", kind, b"", |_| ()).end();
    let mode = |mode: u32| tool().member(b"bin/su", b'0', b"x", |header| header.mode(mode)).end();
    let size = |field: &'static [u8]| tool().member(b"bin/x", b'0', b"", |header| header.text(SIZE, field)).end();
    let described = |extension: u8, records: &[u8]| tool().extension(extension, records).file("bin/x", b"x").end();
    vec![
        ("climbs out", file("../etc/passwd"), "member `../etc/passwd` has a bad name: it has a `..` part"),
        ("climbs out from within", file("bin/../../x"), "it has a `..` part"),
        ("climbs out behind ./", file("./../x"), "it has a `..` part"),
        ("climbs and returns", file("bin/../x"), "it has a `..` part"),
        ("absolute name", file("/etc/passwd"), "member `/etc/passwd` has a bad name: it is absolute"),
        ("absolute behind ./", file(".//etc/passwd"), "it has an empty part"),
        ("absolute directory", tool().directory("/").end(), "it is absolute"),
        ("dot in the middle", file("bin/./x"), "it has a `.` part"),
        ("file with a directory's name", file("bin/x/"), "it has an empty part"),
        ("empty name", file(""), "it is empty"),
        ("not UTF-8", tool().member(b"bin/\xff\xfe", b'0', b"", |_| ()).end(), "it is not UTF-8"),
        ("terminal escape", file("bin/\x1b[2J"), "member `bin/\\u{1b}[2J` has a bad name: it has a control character"),
        ("new line", file("bin/a\nb"), "it has a control character"),
        ("name too long", described(b'L', &[b'n'; 2000]), "it is longer than 1024 bytes"),
        (
            "prefix climbs out",
            tool().member(b"x", b'0', b"", |header| header.prefix(b"../..")).end(),
            "member `../../x` has a bad name: it has a `..` part",
        ),
        ("symlink out", symlink("bin/x", "../../etc/passwd"), "is a symbolic link out of the archive, to `../../etc"),
        ("symlink to the parent", symlink("x", ".."), "member `x` is a symbolic link out of the archive"),
        ("absolute symlink", symlink("x", "/etc/passwd"), "symbolic link out of the archive, to `/etc/passwd`"),
        ("symlink through a name", symlink("x", "bin/../.."), "is a symbolic link out of the archive"),
        ("symlink to nothing", symlink("x", ""), "is a symbolic link out of the archive"),
        (
            "long symlink out",
            tool().extension(b'K', &[b"../".repeat(60), b"x\0".to_vec()].concat()).link(b'2', "x", "bin").end(),
            "is a symbolic link out of the archive",
        ),
        (
            "symlink out in a pax header",
            tool().extension(b'x', &pax("linkpath", b"../x")).link(b'2', "x", "bin").end(),
            "is a symbolic link out of the archive, to `../x`",
        ),
        ("hard link out", tool().link(b'1', "x", "/etc/shadow").end(), "is a hard link out of the archive"),
        ("hard link to the parent", tool().link(b'1', "x", "../x").end(), "is a hard link out of the archive"),
        ("hard link to what is not there", tool().link(b'1', "x", "y").end(), "is a hard link out of the archive"),
        ("written through a link", tool().link(b'2', "l", "bin").file("l/x", b"x").end(), "`l/x` is below `l`, which"),
        ("character device", kind(b'3'), "member `dev/x` is a device"),
        ("block device", kind(b'4'), "member `dev/x` is a device"),
        ("named pipe", kind(b'6'), "member `dev/x` is a named pipe"),
        ("GNU sparse file", kind(b'S'), "member `dev/x` is a sparse file"),
        ("contiguous file", kind(b'7'), "member `dev/x` is of the unusual type `7`"),
        ("volume label", kind(b'V'), "is of the unusual type `V`"),
        ("rest of another volume", kind(b'M'), "is of the unusual type `M`"),
        ("unheard-of type", kind(0xee), "is of the unusual type `\\xee`"),
        ("sparse file in pax", described(b'x', &pax("GNU.sparse.major", b"1")), "member `bin/x` is a sparse file"),
        ("setuid", mode(0o4755), "member `bin/su` has a setuid, setgid or sticky bit (mode 4755)"),
        ("setgid", mode(0o2755), "has a setuid, setgid or sticky bit"),
        ("sticky", mode(0o1755), "has a setuid, setgid or sticky bit"),
        (
            "foreign user",
            tool().member(b"bin/x", b'0', b"", |header| header.owner(1001, 0)).end(),
            "member `bin/x` belongs to 1001, not to root",
        ),
        (
            "foreign group",
            tool().member(b"bin/x", b'0', b"", |header| header.owner(0, 127)).end(),
            "member `bin/x` belongs to 127, not to root",
        ),
        ("foreign user in pax", described(b'x', &pax("uid", b"1001")), "belongs to 1001, not to root"),
        ("the same file twice", tool().file("bin/tool", b"evil").end(), "member `bin/tool` is there twice"),
        ("the same file behind ./", tool().file("./bin/tool", b"evil").end(), "member `bin/tool` is there twice"),
        ("the same directory twice", tool().directory("./bin").end(), "is there twice"),
        ("file below a file", tool().file("bin/tool/x", b"x").end(), "`bin/tool/x` is below `bin/tool`"),
        ("file over a directory", tool().file("a/b", b"x").file("a", b"x").end(), "`a` is no directory, yet others"),
        ("wanted member missing", Tar::default().file("tool", TOOL).end(), "the archive has no member `bin/tool`"),
        ("wanted member a symlink", Tar::default().link(b'2', "bin/tool", "x").end(), "`bin/tool` is a symbolic link"),
        ("wanted member a directory", Tar::default().directory("bin/tool/").end(), "is a directory, and a file is"),
        (
            "wanted member a hard link",
            Tar::default().file("x", b"x").link(b'1', "bin/tool", "x").end(),
            "member `bin/tool` is a hard link, and a file is wanted",
        ),
        ("oversized member", size(b"77777777777\0"), "member `bin/x` is 8589934591 bytes long, more than 1073741824"),
        ("negative size", size(b"-0000000001\0"), "member `bin/x` has the size `-0000000001`"),
        ("negative size in base 256", size(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe\x00"), "has a negative size"),
        ("size beyond 64 bits", size(b"\x80\x01\0\0\0\0\0\0\0\0\0\0"), "member `bin/x` has an impossible size"),
        ("size of 2^63", size(b"\x80\0\0\0\x80\0\0\0\0\0\0\0"), "is 9223372036854775808 bytes long"),
        ("size in letters", size(b"many\0\0\0\0\0\0\0\0"), "member `bin/x` has the size `many`"),
        ("two sizes", described(b'x', &pax("size", b"0")), "member `bin/x` has two sizes"),
        (
            "directory with content",
            tool().member(b"d", b'5', &[0; 512], |_| ()).end(),
            "member `d` is no file and yet has content",
        ),
        (
            "huge long name",
            tool().member(b"x", b'L', b"", |header| header.size(1 << 32)).end(),
            "has a header extension of 4294967296 bytes, more than 65536",
        ),
        ("huge pax header", tool().extension(b'x', &[b'0'; 70_000]).end(), "has a header extension of 70000 bytes"),
        ("pax length too long", described(b'x', b"99 path=x\n"), "has a malformed pax header"),
        ("pax length too short", described(b'x', b"3 path=x\n"), "has a malformed pax header"),
        ("pax length of zero", described(b'x', b"0 path=x\n"), "has a malformed pax header"),
        ("pax length beyond 64 bits", described(b'x', b"99999999999999999999 path=x\n"), "has a malformed pax header"),
        ("pax behind an empty line", described(b'x', b"\n10 path=x\n"), "has a malformed pax header"),
        (
            "pax path twice",
            described(b'x', &[pax("path", b"a"), pax("path", b"b")].concat()),
            "two headers that describe",
        ),
        ("pax path climbs out", described(b'x', &pax("path", b"../x")), "member `../x` has a bad name"),
        ("pax path with a NUL", described(b'x', &pax("path", b"bin/x\0/../..")), "it has a control character"),
        ("pax number with a sign", described(b'x', &pax("uid", b"+0")), "has the pax number `+0`"),
        ("global pax path", described(b'g', &pax("path", b"bin/tool")), "has a global pax header that sets names"),
        ("two long names", tool().extension(b'L', b"a\0").extension(b'L', b"b\0").file("x", b"").end(), "two headers"),
        (
            "long name and pax path",
            tool().extension(b'L', b"a\0").extension(b'x', &pax("path", b"b")).file("x", b"").end(),
            "gives member `a` two names",
        ),
        ("long name of nobody", tool().extension(b'L', b"a\0").end(), "describes a member which does not follow"),
        ("wrong checksum", spoiled(tool().end(), 512, b'c'), "has a header with a wrong checksum"),
        ("no end", tool().0, "the archive is truncated"),
        ("one block of zeros", [tool().0, vec![0; 512]].concat(), "the archive is truncated"),
        ("stray block of zeros", [tool().0, vec![0; 512], tool().end()].concat(), "has a stray block of zeros"),
        ("second archive behind the first", [tool().end(), tool().end()].concat(), "has data behind its end"),
        ("ends in a member", tool().0[..1024 + 3].to_vec(), "the archive is truncated"),
        ("ends in a header", tool().0[..700].to_vec(), "the archive is truncated"),
    ]
}

#[test]
fn every_hostile_gzip_is_refused_with_its_reason() {
    let good = gz(&Tar::with_tool().end());
    let mut wrong_sum = good.clone();
    let at = wrong_sum.len() - 6;
    wrong_sum[at] ^= 1;
    assert_refused(
        Kind::TarGz,
        &[
            ("empty", vec![], "the artifact is not gzip data: it is empty"),
            ("error page", b"<html>404".to_vec(), "not gzip data: it looks like an HTML page, `<html>404`"),
            ("not compressed", Tar::with_tool().end(), "the artifact is not gzip data: it is a tar archive"),
            ("truncated", good[..good.len() - 12].to_vec(), "the archive is truncated"),
            ("without its checksum", good[..good.len() - 8].to_vec(), "the archive is truncated"),
            ("wrong checksum", wrong_sum, "the archive cannot be read"),
            ("garbage behind it", [good.clone(), b"garbage behind it".to_vec()].concat(), "invalid gzip header"),
            ("zeros behind it", [good.clone(), vec![0; 64]].concat(), "invalid gzip header"),
            ("data in a second gzip", [good.clone(), gz(b"evil")].concat(), "the archive has data behind its end"),
            ("half a second gzip", [good.clone(), good[..9].to_vec()].concat(), "the archive is truncated"),
        ],
    );
}

#[test]
fn every_hostile_package_is_refused_with_its_reason() {
    let tar = Tar::with_tool().end();
    let version: (&str, &[u8]) = ("debian-binary", b"2.0\n");
    let control: (&str, &[u8]) = ("control.tar.xz", b"");
    let data: (&str, &[u8]) = ("data.tar", &tar);
    let good = ar(&[version, control, data]);
    let (xz_tar, zst_tar) = (xz(&tar), zst(&tar));
    // The dictionary size of the only block: 4 GiB. Header checksums are right.
    let huge_window = {
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(30).unwrap();
        encoder.write_all(&tar).unwrap();
        encoder.finish().unwrap()
    };
    let size = |digits: &str| {
        let mut bytes = good.clone();
        let at = bytes.len() - tar.len() - 12;
        bytes[at..at + 10].copy_from_slice(format!("{digits:<10}").as_bytes());
        bytes
    };
    assert_refused(
        Kind::Deb,
        &[
            ("empty", vec![], "the artifact is not a Debian package: it is empty"),
            ("a tar archive", tar.clone(), "the artifact is not a Debian package: it is a tar archive"),
            ("only the magic", b"!<arch>\n".to_vec(), "the package ends before `debian-binary`"),
            ("no version", ar(&[control, data]), "`control.tar.xz` is where the package's `debian-binary` should be"),
            ("version 3", ar(&[("debian-binary", b"3.0\n"), control, data]), "says `3.0\\n`, not version 2.0"),
            ("long version", ar(&[("debian-binary", b"2.0\n2.0\n"), control, data]), "not version 2.0"),
            ("no control", ar(&[version, data]), "`data.tar` is where the package's `control.tar` should be"),
            ("two controls", ar(&[version, control, control, data]), "is where the package's `data.tar` should be"),
            ("no data", ar(&[version, control]), "the package ends before `data.tar`"),
            ("data first", ar(&[version, data, control]), "is where the package's `control.tar` should be"),
            ("two data archives", ar(&[version, control, data, data]), "`data.tar` does not belong behind"),
            ("stowaway", ar(&[version, control, data, ("evil", b"x")]), "`evil` does not belong behind"),
            ("bzip2", deb("data.tar.bz2", b"BZh"), "`data.tar.bz2` is compressed in a way that is not supported"),
            ("similar name", deb("data.tarball", &tar), "`data.tarball` is where the package's `data.tar` should be"),
            ("long member name", ar(&[("#1/4294967295", b"x")]), "the archive has a malformed ar header"),
            ("no name", ar(&[("", b"x")]), "the archive has a malformed ar header"),
            ("negative size", size("-1"), "the archive has a malformed ar header"),
            ("no size", size(""), "the archive has a malformed ar header"),
            ("size beyond its end", size("9999999999"), "`data.tar` goes on behind its end, or is truncated"),
            ("size short of its end", size("2048"), "the archive is truncated"),
            ("truncated", good[..good.len() - 512].to_vec(), "the archive is truncated"),
            ("header cut short", good[..40].to_vec(), "the archive is truncated"),
            (
                "control cut short",
                ar(&[version, ("control.tar", &[0; 99])])[..190].to_vec(),
                "the archive is truncated",
            ),
            ("xz is not", deb("data.tar.xz", &tar), "the archive cannot be read"),
            ("xz truncated", deb("data.tar.xz", &xz_tar[..xz_tar.len() - 9]), "the archive is truncated"),
            ("xz with garbage", deb("data.tar.xz", &[&xz_tar[..], b"garbage"].concat()), "the archive cannot be read"),
            ("zstd is not", deb("data.tar.zst", &tar), "the archive cannot be read"),
            ("zstd truncated", deb("data.tar.zst", &zst_tar[..zst_tar.len() - 3]), "the archive is truncated"),
            ("zstd with garbage", deb("data.tar.zst", &[&zst_tar[..], b"garbage"].concat()), "cannot be read"),
            ("zstd with a window of 1 GiB", deb("data.tar.zst", &huge_window), "the archive cannot be read"),
            (
                "absolute symlink to what is not in it",
                deb("data.tar", &Tar::with_tool().link(b'2', "x", "/etc/shadow").end()),
                "member `x` is a symbolic link out of the archive, to `/etc/shadow`",
            ),
        ],
    );
}

#[test]
fn limits_stop_bombs() {
    let limits = Limits { member: 4096, total: 64 << 10, entries: 5 };
    let refused = |kind, bytes: &[u8]| take(kind, bytes, &limits).expect_err("beyond the limits").to_string();
    let tool = Tar::with_tool;

    let member = tool().file("big", &[0; 4097]).end();
    assert_eq!(refused(Kind::Tar, &member), "member `big` is 4097 bytes long, more than 4096");
    let entries = (0..9).fold(tool(), |tar, i| tar.file(&i.to_string(), b"")).end();
    assert_eq!(refused(Kind::Tar, &entries), "the archive has more than 5 members");
    let headers = (0..9).fold(tool(), |tar, _| tar.extension(b'g', b"")).end();
    assert_eq!(refused(Kind::Tar, &headers), "the archive has more than 5 members");

    // A million zeros behind the end, in a kilobyte.
    let bomb = [tool().end(), vec![0; 1 << 20]].concat();
    for (kind, bytes) in [
        (Kind::TarGz, gz(&bomb)),
        (Kind::Deb, deb("data.tar.gz", &gz(&bomb))),
        (Kind::Deb, deb("data.tar.xz", &xz(&bomb))),
        (Kind::Deb, deb("data.tar.zst", &zst(&bomb))),
    ] {
        assert!(bytes.len() < 4096);
        assert_eq!(refused(kind, &bytes), "the archive cannot be read: it unpacks to more than 65536 bytes");
    }
}
