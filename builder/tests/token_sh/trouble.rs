//! An endpoint that is busy, hangs, refuses, or is not there.

use std::net::TcpListener;
use std::sync::Mutex;

use crate::TOKEN;
use crate::himds::{Himds, grant, node_granted, response};
use crate::node::{Node, shells};

#[test]
fn a_busy_endpoint_is_asked_three_times() {
    for busy in ["500 Oops", "503 Later", "429 Slow down", "408 Timeout"] {
        // Twice busy, then well: the counter starts over with each shell.
        let count = Mutex::new(0);
        let (node, _server) = node_granted(move || {
            let mut count = count.lock().expect("not poisoned");
            *count += 1;
            if *count % 3 == 0 { grant() } else { response(busy, "", "busy") }
        });
        assert_eq!(node.prints()["status"]["token"], TOKEN, "{busy}");

        let server = Himds::new(move |_| response(busy, "", "busy"));
        let node = Node::new(&server.endpoint);
        let (status, why) = node.refuses();
        assert_eq!((status, why.contains("three times")), (69, true), "{why}");
        assert_eq!(server.requests().len(), 3 * shells().len(), "{busy}");
    }
}

#[test]
fn what_a_retry_cannot_cure_is_not_retried() {
    for (answer, expected) in
        [("400 Bad", 78), ("404 Not here", 78), ("403 Forbidden", 77), ("301 Moved", 76), ("204 Nothing", 76)]
    {
        let server = Himds::new(move |_| response(answer, "Location: http://127.0.0.1:9/\r\n", ""));
        let (status, why) = Node::new(&server.endpoint).refuses();
        assert_eq!(status, expected, "{answer}: {why}");
        assert_eq!(server.requests().len(), shells().len(), "{answer}: asked once");
    }
    let (node, server) = node_granted(|| response("401 Unauthorized", "", ""));
    assert_eq!(node.refuses().0, 77);
    assert_eq!(server.requests().len(), 2 * shells().len());
}

#[test]
fn an_endpoint_that_hangs_or_is_gone_ends_in_time_and_is_named() {
    let server = Himds::new(|_| String::new());
    let (status, why) = Node::new(&server.endpoint).refuses();
    assert_eq!((status, why.contains("in time")), (69, true), "{why}");

    let gone = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let (status, why) = Node::new(&format!("http://{gone}")).refuses();
    assert_eq!((status, why.contains(&format!("nothing listens at http://{gone}"))), (69, true), "{why}");

    let server = Himds::new(|_| "garbage\r\n\r\n".into());
    assert_eq!(Node::new(&server.endpoint).refuses().0, 69, "no HTTP at all");
}
