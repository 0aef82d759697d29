//! The fault matrix: every request of the join × every fault, once for the first time only and once for good.
//!
//! Each run is that of the real agent against an emulated Azure of its own. `requests` and `faults` are the two sides of
//! the matrix, `expected` says in a table how a join ends that meets a fault for good, `cell` runs one of them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod cell;
mod crew;
mod expected;
mod faults;
mod machine;
mod requests;

use self::cell::{Cell, Plan};
use self::faults::{FAULTS, TLS};
use self::requests::{NAMES, REQUESTS, SERVICES};

#[test]
fn every_fault_of_every_request_is_waited_out_or_ends_in_the_right_code_with_its_cure() {
    let requests = REQUESTS.iter().flat_map(|request| {
        FAULTS.iter().map(move |fault| Cell::new(request.name, fault.name, Plan::Request(request, fault)))
    });
    let connections = SERVICES.iter().flat_map(|(name, service)| {
        TLS.iter().map(move |(fault, tls)| Cell::new(name, fault, Plan::Connection(*service, *tls)))
    });
    let names = NAMES.iter().map(|(name, whose)| Cell::new(name, "no such name", Plan::Name(*whose)));
    crew::run(requests.chain(connections).chain(names).collect());
}
