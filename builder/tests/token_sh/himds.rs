//! A HIMDS on loopback that does as it is told.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::json;

use crate::node::Node;
use crate::{KEY, TOKEN};

/// A server whose answer to each request is `answer(request)`; an empty answer hangs until the client gives up.
pub(crate) struct Himds {
    pub(crate) endpoint: String,
    pub(crate) requests: Arc<Mutex<Vec<String>>>,
}

impl Himds {
    pub(crate) fn new(answer: impl Fn(&str) -> String + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&requests);
        // The thread ends with the test's process.
        thread::spawn(move || {
            for stream in listener.incoming() {
                serve(stream.expect("a connection"), &answer, &log);
            }
        });
        Self { endpoint, requests }
    }

    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("not poisoned").clone()
    }
}

pub(crate) fn serve(mut stream: TcpStream, answer: &impl Fn(&str) -> String, log: &Mutex<Vec<String>>) {
    let mut request = String::new();
    let mut byte = [0];
    while !request.ends_with("\r\n\r\n") && stream.read(&mut byte).expect("a request") == 1 {
        request.push(char::from(byte[0]));
    }
    log.lock().expect("not poisoned").push(request.clone());
    let answer = answer(&request);
    if answer.is_empty() {
        // Read until the client hangs up.
        let _ = stream.read(&mut byte);
    }
    // The client may be gone.
    let _ = stream.write_all(answer.as_bytes());
}

pub(crate) fn response(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}

pub(crate) fn challenge(realm: &str) -> String {
    response("401 Unauthorized", &format!("Www-Authenticate: Basic realm={realm}\r\n"), "")
}

pub(crate) fn grant() -> String {
    let body = json!({
        "access_token": TOKEN, "expires_on": "1893456000", "resource": "r", "token_type": "Bearer",
        "note": "a,\"access_token\":\"no\"} ",
    });
    response("200 OK", "Content-Type: application/json\r\n", &body.to_string())
}

/// Challenges with `realm`, which the test fills in once it knows the node, and grants what has the key.
pub(crate) fn himds(granted: impl Fn() -> String + Send + 'static) -> (Himds, Arc<Mutex<String>>) {
    let first = Arc::new(Mutex::new(String::new()));
    let challenges = Arc::clone(&first);
    let server = Himds::new(move |request| {
        if request.contains("\r\nAuthorization: ") {
            granted()
        } else {
            challenges.lock().expect("not poisoned").clone()
        }
    });
    (server, first)
}

pub(crate) fn set(answer: &Mutex<String>, to: String) {
    *answer.lock().expect("not poisoned") = to;
}

/// A node whose HIMDS behaves, with the answer to the second request given.
pub(crate) fn node_granted(granted: impl Fn() -> String + Send + 'static) -> (Node, Himds) {
    let (server, first) = himds(granted);
    let node = Node::new(&server.endpoint);
    let file = node.key_file("6f1d.key", KEY.as_bytes());
    set(&first, challenge(file.to_str().expect("UTF-8")));
    (node, server)
}
