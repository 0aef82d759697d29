//! Something else listens where HIMDS should, and names files that it would like to see.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::process::Command;

use flexnode_vm::azure::{Fault, Operation, When};

use super::node::{DASH, Node};

/// The file that everybody is after.
const TREASURE: &str = "root:$6$hash-of-a-password";

#[test]
fn no_file_but_a_small_key_directly_in_the_tokens_directory_is_ever_sent() {
    let node = Node::joined();
    let (dir, tokens) = (node.dir().display(), node.site.game.tokens.clone());
    let name = |name: &str| tokens.join(name);
    fs::write(node.dir().join("shadow.key"), TREASURE).unwrap();
    symlink(node.dir().join("shadow.key"), name("link.key")).unwrap();
    symlink(name("nothing.key"), name("dangling.key")).unwrap();
    fs::write(name("large.key"), vec![b'k'; 4097]).unwrap();
    fs::write(name("empty.key"), "").unwrap();
    fs::write(name("binary.key"), b"k\0\xff").unwrap();
    fs::write(name("lines.key"), "k\r\nX-Injected: 1").unwrap();
    fs::write(name("shadow"), TREASURE).unwrap();
    fs::create_dir(name("directory.key")).unwrap();
    fs::create_dir(name("sub")).unwrap();
    fs::write(name("sub/shadow.key"), TREASURE).unwrap();
    assert!(Command::new("mkfifo").arg(name("pipe.key")).status().unwrap().success());
    let below = tokens.display();
    let attacks = [
        (format!("{below}/link.key"), "a link"),
        (format!("{below}/dangling.key"), "a link"),
        (format!("{below}/large.key"), "more than 4096 bytes"),
        (format!("{below}/empty.key"), "an empty file"),
        (format!("{below}/binary.key"), "no text"),
        (format!("{below}/lines.key"), "no text"),
        (format!("{below}/shadow"), "no .key"),
        (format!("{below}/directory.key"), "no regular file"),
        (format!("{below}/pipe.key"), "no regular file"),
        (format!("{below}/nothing.key"), "no regular file"),
        (format!("{below}/sub/shadow.key"), "outside"),
        (format!("{below}/../shadow.key"), "outside"),
        (format!("{below}/./shadow.key"), "outside"),
        (format!("{below}//../shadow.key"), "outside"),
        (format!("{dir}/shadow.key"), "outside"),
        (format!("{below}s/shadow.key"), "outside"),
        ("shadow.key".to_owned(), "outside"),
        ("/dev/zero".to_owned(), "outside"),
        (format!("{below}/*.key"), "outside"),
        (format!("{below}/$(id).key"), "outside"),
    ];
    for (file, why) in &attacks {
        let headers = vec![("www-authenticate".to_owned(), format!("Basic realm={file}"))];
        node.site.game.emulator.behave();
        node.site.game.emulator.forget_requests();
        let named = Fault::Answer { status: 401, headers, body: String::new() };
        node.site.game.emulator.inject(When::operation(Operation::Challenge), named);
        let ended = node.runs(DASH);
        assert_eq!(ended.status(), 77, "{file}: {}", ended.stderr());
        assert!(ended.stderr().contains(why), "{file}: {}", ended.stderr());
        assert!(!ended.stderr().contains(TREASURE), "{file}: {}", ended.stderr());
        let requests = node.site.game.emulator.requests();
        assert_eq!(requests.len(), 1, "{file}: it is not asked again, and nothing is sent: {requests:#?}");
    }
    eprintln!("token.sh: refused {} files", attacks.len());
}

#[test]
fn whoever_may_not_read_the_key_gets_no_token() {
    let node = Node::joined();
    // So that only the key's own mode (0440, root's) is in the way.
    for path in [node.dir(), &node.script, &node.site.game.tokens] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    node.site.game.emulator.forget_requests();
    let nobody = ["/usr/bin/setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    let ended = node.runs_as(&[&nobody[..], DASH, &[node.script.to_str().unwrap()]].concat());
    assert_eq!(ended.status(), 77, "{}", ended.stderr());
    assert!(ended.stderr().contains("cannot be read: root and the group himds can"), "{}", ended.stderr());
    assert!(node.site.game.emulator.requests_for(Operation::MachineToken).is_empty());
}
