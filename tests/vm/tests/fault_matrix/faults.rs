//! The other side of the matrix: what goes wrong.

use std::time::Duration;

use flexnode_vm::azure::{Fault, TlsFault};

/// A fault under its name in the table.
pub(crate) struct Named {
    pub(crate) name: &'static str,
    make: fn() -> Fault,
}

impl Named {
    pub(crate) fn fault(&self) -> Fault {
        (self.make)()
    }
}

const fn named(name: &'static str, make: fn() -> Fault) -> Named {
    Named { name, make }
}

/// Longer than any token holds.
const DAYS: i64 = 2 * 86_400;

pub(crate) const FAULTS: [Named; 24] = [
    // Portals, proxies and load balancers, which answer in the place of the service.
    named("302 to a portal", || answer(302, &[("location", "https://portal.example/login")], "")),
    named("200 page", || answer(200, &[("content-type", "text/html")], PAGE)),
    named("200 other JSON", || answer(200, &[("content-type", "application/json")], r#"{"status":"ok"}"#)),
    named("200 empty", || answer(200, &[], "")),
    named("401 page", || answer(401, &[("content-type", "text/html")], PAGE)),
    named("403 page", || answer(403, &[("content-type", "text/html")], PAGE)),
    named("404 page", || answer(404, &[("content-type", "text/html")], PAGE)),
    named("502 page", || answer(502, &[("content-type", "text/html")], PAGE)),
    // The service itself.
    named("throttled", || Fault::Throttled { retry_after: 1 }),
    named("408", || Fault::Status(408)),
    named("500", || Fault::Status(500)),
    named("502", || Fault::Status(502)),
    named("503", || Fault::Status(503)),
    named("504", || Fault::Status(504)),
    // The wire.
    named("reset", || Fault::Reset),
    named("hang", || Fault::Hang),
    named("lost answer", || Fault::LoseAnswer),
    named("twice", || Fault::Twice),
    named("body reset", || Fault::ResetBody { after: 10 }),
    named("body stalls", || Fault::StallBody { after: 10 }),
    named("body cut off", || Fault::Truncate { after: 10 }),
    named("slow", || Fault::Slow { chunk: 200, pause: Duration::from_millis(5) }),
    // The service's clock; a machine with a wrong one sees the same the other way round.
    named("clock ahead", || Fault::Skew(DAYS)),
    named("clock behind", || Fault::Skew(-DAYS)),
];

const PAGE: &str = "<!DOCTYPE html><html><body><h1>Welcome to the guest network</h1></body></html>";

fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Fault {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Fault::Answer { status, headers, body: body.to_owned() }
}

pub(crate) const TLS: [(&str, TlsFault); 5] = [
    ("unknown authority", TlsFault::UnknownAuthority),
    ("wrong name", TlsFault::WrongName),
    ("expired", TlsFault::Expired),
    ("handshake reset", TlsFault::Reset),
    ("handshake hangs", TlsFault::Hang),
];
