//! What a challenge may name, and how it is answered.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::json;

use crate::himds::{Himds, challenge, grant, himds, node_granted, response, set};
use crate::node::{Node, shells};
use crate::{KEY, TOKEN};

#[test]
fn the_challenge_is_answered_and_one_credential_printed() {
    let (node, server) = node_granted(grant);
    assert_eq!(
        node.prints(),
        json!({
            "apiVersion": "client.authentication.k8s.io/v1",
            "kind": "ExecCredential",
            "status": {"token": TOKEN, "expirationTimestamp": "2030-01-01T00:00:00Z"},
        })
    );
    let requests = server.requests();
    assert_eq!(requests.len(), 2 * shells().len());
    for (at, request) in requests.iter().enumerate() {
        let line = "GET /metadata/identity/oauth2/token?api-version=2020-06-01\
                    &resource=6dae42f8-4368-4678-94ff-3960e28e3630 HTTP/1.1\r\n";
        assert!(request.starts_with(line), "{request}");
        assert!(request.contains("\r\nMetadata: true\r\n"), "{request}");
        assert_eq!(request.contains(&format!("\r\nAuthorization: Basic {KEY}\r\n")), at % 2 == 1, "{request}");
    }
}

#[test]
fn a_header_in_any_case_and_a_quoted_realm_are_understood() {
    let (server, first) = himds(grant);
    let node = Node::new(&server.endpoint);
    let file = node.key_file("a.key", format!("{KEY}\n").as_bytes());
    for header in [
        format!("WWW-AUTHENTICATE: BASIC REALM={}", file.display()),
        format!("www-authenticate:basic  realm=\"{}\"", file.display()),
    ] {
        set(&first, response("401 Unauthorized", &format!("X-Other: 1\r\n{header}  \r\n"), ""));
        assert_eq!(node.prints()["status"]["token"], TOKEN, "{header}");
    }
}

#[test]
fn a_token_without_a_challenge_is_refused() {
    let server = Himds::new(|_| grant());
    let (status, why) = Node::new(&server.endpoint).refuses();
    assert_eq!(status, 76);
    assert!(why.contains("without a challenge"), "{why}");
}

#[test]
fn a_challenge_that_points_elsewhere_is_not_followed() {
    let (server, first) = himds(grant);
    let node = Node::new(&server.endpoint);
    let (root, tokens) = (node.root.path().display().to_string(), node.tokens.display().to_string());
    fs::write(node.root.path().join("other.key"), KEY).expect("a file");
    node.key_file("a.txt", KEY.as_bytes());
    node.key_file(".key", KEY.as_bytes());
    node.key_file("odd name.key", KEY.as_bytes());
    node.key_file("large.key", &[b'a'; 4097]);
    node.key_file("empty.key", b"");
    node.key_file("binary.key", b"a\x01b\xffc");
    node.key_file("lines.key", b"a\r\nX-Injected: 1");
    fs::create_dir(node.tokens.join("directory.key")).expect("a directory");
    fs::create_dir(node.tokens.join("sub")).expect("a directory");
    fs::write(node.tokens.join("sub/a.key"), KEY).expect("a file");
    symlink(node.root.path().join("other.key"), node.tokens.join("link.key")).expect("a link");
    for (realm, why) in [
        (format!("{tokens}/a.txt"), "no .key"),
        (format!("{root}/other.key"), "outside"),
        ("/etc/shadow".into(), "outside"),
        ("other.key".into(), "outside"),
        (format!("{tokens}/../other.key"), "outside"),
        (format!("{tokens}/sub/a.key"), "outside"),
        (format!("{tokens}//sub/a.key"), "outside"),
        (format!("{tokens}/.key"), "outside"),
        (format!("{tokens}/odd name.key"), "outside"),
        (format!("{tokens}/$(touch x).key"), "outside"),
        (format!("{tokens}/*.key"), "outside"),
        (format!("{tokens}s/a.key"), "outside"),
        (tokens.clone(), "outside"),
        (format!("{tokens}/link.key"), "a link"),
        (format!("{tokens}/large.key"), "more than 4096 bytes"),
        (format!("{tokens}/empty.key"), "an empty file"),
        (format!("{tokens}/binary.key"), "no text"),
        (format!("{tokens}/lines.key"), "no text"),
        (format!("{tokens}/directory.key"), "no regular file"),
        (format!("{tokens}/gone.key"), "no regular file"),
    ] {
        set(&first, challenge(&realm));
        let (status, said) = node.refuses();
        assert_eq!(status, 77, "{realm}: {said}");
        assert!(said.contains(why), "{realm}: {said}");
    }
    for (header, why) in [
        ("", "names no file"),
        ("Www-Authenticate: Bearer realm=/x.key\r\n", "names no file"),
        ("Www-Authenticate: Basic realm=\r\n", "names no file"),
    ] {
        set(&first, response("401 Unauthorized", header, ""));
        let (status, said) = node.refuses();
        assert_eq!((status, said.contains(why)), (76, true), "{header}: {said}");
    }
    assert!(server.requests().iter().all(|request| !request.contains("Authorization")), "no file was ever sent");
}

#[test]
fn a_tokens_directory_that_is_a_link_is_not_followed() {
    let (server, first) = himds(grant);
    let node = Node::new(&server.endpoint);
    let elsewhere = node.root.path().join("elsewhere");
    fs::rename(&node.tokens, &elsewhere).expect("moved");
    symlink(&elsewhere, &node.tokens).expect("a link");
    let file = node.key_file("a.key", KEY.as_bytes());
    set(&first, challenge(file.to_str().expect("UTF-8")));
    let (status, why) = node.refuses();
    assert_eq!((status, why.contains("is a link")), (77, true), "{why}");
}

#[test]
fn a_key_of_4096_bytes_and_odd_characters_arrives_unchanged() {
    let (server, first) = himds(grant);
    let node = Node::new(&server.endpoint);
    let odd = r#"a"b\c'd $e `f` %g #h"#;
    let key = format!("{odd}{}", "x".repeat(4096 - odd.len()));
    let file = node.key_file("a.key", key.as_bytes());
    set(&first, challenge(file.to_str().expect("UTF-8")));
    node.prints();
    let requests = server.requests();
    assert!(requests[1].contains(&format!("\r\nAuthorization: Basic {key}\r\n")), "{}", requests[1]);
}
