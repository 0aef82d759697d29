//! Who is at the other end, how to get there, and what must not be told on the way.

use std::fs;

use flexnode_build::failure::Class;
use flexnode_vm::faults::{Authority, Fault, Server};

use crate::bench::{Bench, PATH, artifact, mirror};

#[tokio::test]
async fn an_unknown_authority_is_refused_at_once_and_the_cure_named() {
    let mut bench = Bench::new(100_000);
    let authority = Authority::new().expect("an authority");
    let server = Server::https(&bench.dir.path().join("site"), &authority, &[]).expect("a server");
    let artifact = artifact(&format!("{}{PATH}", server.url()), &bench.body);

    let (class, message, hint) = bench.fetch_bad(std::slice::from_ref(&artifact)).await;
    assert_eq!(class, Class::Network);
    assert!(message.contains("UnknownIssuer"), "the true cause: {message}");
    assert!(hint.contains("--ca-cert"), "{hint}");
    assert_eq!((server.connections(), server.requests().len()), (1, 0), "it is not tried again");

    let pem = bench.dir.path().join("ca.pem");
    fs::write(&pem, Authority::new().expect("another authority").pem()).expect("a file");
    bench.options.ca_certs = vec![pem.clone()];
    assert_eq!(bench.fetch_bad(std::slice::from_ref(&artifact)).await.0, Class::Network);

    fs::write(&pem, authority.pem()).expect("a file");
    bench.fetch(&[artifact]).await.expect("the right bytes");
}

#[tokio::test]
async fn a_bad_certificate_file_is_a_usage_error() {
    let mut bench = Bench::new(1000);
    let pem = bench.dir.path().join("ca.pem");
    let broken = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
    for content in [None, Some(""), Some("not a certificate"), Some(broken)] {
        if let Some(content) = content {
            fs::write(&pem, content).expect("a file");
        }
        bench.options.ca_certs = vec![pem.clone()];
        let (class, message, hint) = bench.fetch_bad(&[bench.artifact()]).await;
        assert_eq!(class, Class::Usage, "{message}");
        assert!(message.contains("ca.pem") && hint.contains("PEM"), "{message} {hint}");
    }
    assert_eq!(bench.server.connections(), 0);
}

#[tokio::test]
async fn a_redirect_from_https_to_http_is_refused() {
    let mut bench = Bench::new(1000);
    let authority = Authority::new().expect("an authority");
    let pem = bench.dir.path().join("ca.pem");
    fs::write(&pem, authority.pem()).expect("a file");
    bench.options.ca_certs = vec![pem];
    let secure = Server::https(&bench.dir.path().join("site"), &authority, &[]).expect("a server");
    secure.always(PATH, Fault::redirect(&format!("{}{PATH}", bench.server.url())));

    let (class, message, _) = bench.fetch_bad(&[artifact(&format!("{}{PATH}", secure.url()), &bench.body)]).await;
    assert_eq!(class, Class::Network);
    assert!(message.contains("redirects from https to http://"), "{message}");
    assert_eq!(bench.server.requests().len(), 0);
}

#[test]
fn proxy_variables_are_honoured() {
    let bench = Bench::new(100_000);
    let proxy = Server::proxy(&bench.server).expect("a proxy");
    let upstream = format!("http://dl.k8s.invalid{PATH}");
    let status = bench.child(&upstream).env("HTTP_PROXY", proxy.url()).status().expect("a child");
    assert!(status.success(), "{status}");
    assert_eq!(proxy.requests()[0].target, upstream);
    assert_eq!(bench.server.requests().len(), 1);
}

#[test]
fn https_goes_through_a_proxy_as_a_tunnel() {
    let bench = Bench::new(100_000);
    let authority = Authority::new().expect("an authority");
    let pem = bench.dir.path().join("ca.pem");
    fs::write(&pem, authority.pem()).expect("a file");
    let secure = Server::https(&bench.dir.path().join("site"), &authority, &["dl.k8s.invalid"]).expect("a server");
    let proxy = Server::proxy(&secure).expect("a proxy");
    let with_password = proxy.url().replace("http://", "http://robot:s3cret@");

    let mut child = bench.child(&format!("https://dl.k8s.invalid{PATH}"));
    let output = child.env("HTTPS_PROXY", with_password).env("CHILD_CA", pem).output().expect("a child");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    let request = &proxy.requests()[0];
    assert_eq!((request.method.as_str(), request.target.as_str()), ("CONNECT", "dl.k8s.invalid:443"));
    assert_eq!(request.header("proxy-authorization"), Some("Basic cm9ib3Q6czNjcmV0"));
    assert!(!said.contains("s3cret"), "{said}");
}

#[test]
fn no_proxy_is_honoured() {
    let bench = Bench::new(100_000);
    let proxy = Server::proxy(&bench.server).expect("a proxy");
    let mut child = bench.child(&format!("{}{PATH}", bench.server.url()));
    let status = child.env("HTTP_PROXY", proxy.url()).env("NO_PROXY", "127.0.0.1").status().expect("a child");
    assert!(status.success(), "{status}");
    assert_eq!((proxy.requests().len(), bench.server.requests().len()), (0, 1));
}

#[tokio::test]
async fn a_password_in_a_url_is_sent_but_never_told() {
    let mut bench = Bench::new(100_000);
    let with_password = bench.server.url().replace("http://", "http://robot:s3cret@");
    bench.options.mirrors = vec![mirror(&with_password)];
    bench.options.retries = 1;
    let path = format!("/127.0.0.1:1{PATH}");
    bench.publish(&path, &bench.body);
    bench.server.once(&path, [Fault::answer(503, ("Retry-After", "0"), ""), Fault::Swap(b"<html>".to_vec())]);
    let artifact = artifact(&format!("http://u:s3cret@127.0.0.1:1{PATH}?sig=s3cret"), &bench.body);

    let failed = bench.fetch(std::slice::from_ref(&artifact)).await.expect_err("nobody has it");
    for told in [format!("{failed:#}"), format!("{failed:?}"), format!("{:?}", bench.options), bench.said()] {
        assert!(!told.contains("s3cret"), "{told}");
    }
    assert!(bench.said().contains("trying again"), "{}", bench.said());
    let request = &bench.server.requests()[0];
    assert_eq!(request.header("authorization"), Some("Basic cm9ib3Q6czNjcmV0"));
}
