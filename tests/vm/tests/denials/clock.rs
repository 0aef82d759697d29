//! Tokens that end in the middle of a join, and a machine whose clock is wrong.

use std::process::Stdio;
use std::sync::mpsc::channel;
use std::time::Duration;

use flexnode_vm::azure::{Clock, Operation, contoso};

use crate::bench::Bench;

const DAY: Duration = Duration::from_secs(86_400);

/// Joins while the clock moves by a day at each of these requests, the first of its kind.
fn joins_while_tokens_end_at(moments: &'static [Operation]) -> Bench {
    let bench = Bench::new(contoso::world());
    let (tell, told) = channel();
    let (go_on, may_go_on) = channel();
    let met = std::sync::Mutex::new(Vec::new());
    bench.azure().observe(move |request| {
        let mut met = met.lock().unwrap();
        if moments.contains(&request.operation) && !met.contains(&request.operation) {
            met.push(request.operation);
            tell.send(()).unwrap();
            may_go_on.recv().unwrap();
        }
    });
    let mut child = bench.site.join().stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    for _ in moments {
        // The answer waits until the clock has been moved.
        told.recv_timeout(Duration::from_secs(60)).unwrap();
        bench.azure().with_clock(|clock| clock.advance(DAY));
        go_on.send(()).unwrap();
    }
    let ended = child.wait().unwrap();
    assert_eq!(ended.code(), Some(0), "{:#?}", bench.azure().requests());
    bench
}

#[test]
fn tokens_that_end_in_the_middle_of_a_join_are_replaced() {
    let bench = joins_while_tokens_end_at(&[Operation::MachineWrite, Operation::ServerVersion]);
    let requests = bench.azure().requests();
    let ended = |code: &str| requests.iter().filter(|request| request.error.as_deref() == Some(code)).count();
    assert_eq!(ended("ExpiredAuthenticationToken"), 1, "the operator's, at the machine: {requests:#?}");
    assert_eq!(ended("Unauthorized"), 1, "the machine's, at the access review: {requests:#?}");
    assert_eq!(bench.azure().machines().len(), 1);
    assert_eq!(bench.azure().assignments(&bench.principal()).len(), 2);
    assert_eq!(bench.restarts(), 0);
}

#[test]
fn a_machine_whose_clock_is_days_ahead_or_behind_joins_where_certificates_still_hold() {
    for clock in [Clock::off_by(-3 * 86_400), Clock::off_by(3 * 86_400)] {
        let bench = Bench::new(contoso::world().clock(clock));
        bench.joins();
        assert_eq!(bench.restarts(), 0);
    }
}
