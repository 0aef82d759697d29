//! Every fault of HIMDS, in either of the two requests, once and for good.

use std::collections::BTreeSet;
use std::time::Duration;

use flexnode_vm::azure::{Fault, Operation, When};

use super::node::{DASH, Node};

/// How the script ends when the fault befalls one request, and when it befalls each.
type Ends = (i32, i32);

/// Another try helps, as long as one is left.
const RETRIED: Ends = (0, 69);
const HARMLESS: Ends = (0, 0);

const fn at_once(status: i32) -> Ends {
    (status, status)
}

/// The fault, and how it ends in the first request and in the second.
fn table() -> Vec<(Fault, Ends, Ends)> {
    let answer = |status, body: &str| Fault::Answer { status, headers: Vec::new(), body: body.to_owned() };
    vec![
        // Whoever answers without a challenge is not the Arc agent.
        (answer(200, "<html>welcome to the hotel"), at_once(76), at_once(76)),
        (answer(401, ""), at_once(76), at_once(77)),
        (answer(403, ""), at_once(77), at_once(77)),
        (answer(404, ""), at_once(78), at_once(78)),
        (answer(302, ""), at_once(76), at_once(76)),
        (Fault::Status(400), at_once(78), at_once(78)),
        (Fault::Status(408), RETRIED, RETRIED),
        (Fault::Status(500), RETRIED, RETRIED),
        (Fault::Status(503), RETRIED, RETRIED),
        (Fault::Throttled { retry_after: 1 }, RETRIED, RETRIED),
        (Fault::Reset, RETRIED, RETRIED),
        (Fault::Hang, RETRIED, RETRIED),
        (Fault::LoseAnswer, RETRIED, RETRIED),
        // The key is for one request, and the second time it is denied.
        (Fault::Twice, HARMLESS, at_once(77)),
        (Fault::ResetBody { after: 5 }, RETRIED, RETRIED),
        (Fault::StallBody { after: 5 }, RETRIED, RETRIED),
        (Fault::Truncate { after: 5 }, RETRIED, RETRIED),
        (Fault::Slow { chunk: 100, pause: Duration::from_millis(1) }, HARMLESS, HARMLESS),
        (Fault::Slow { chunk: 1, pause: Duration::from_millis(200) }, RETRIED, RETRIED),
        (Fault::Skew(86_400), HARMLESS, HARMLESS),
        (Fault::Skew(-86_400), HARMLESS, HARMLESS),
    ]
}

/// A new kind of fault does not compile until the table has it.
fn kind(fault: &Fault) -> &'static str {
    match fault {
        Fault::Answer { .. } => "answer",
        Fault::Throttled { .. } => "throttled",
        Fault::Status(_) => "status",
        Fault::Reset => "reset",
        Fault::Hang => "hang",
        Fault::LoseAnswer => "lose answer",
        Fault::Twice => "twice",
        Fault::ResetBody { .. } => "reset body",
        Fault::StallBody { .. } => "stall body",
        Fault::Truncate { .. } => "truncate",
        Fault::Slow { .. } => "slow",
        Fault::Skew(_) => "skew",
    }
}

#[test]
fn every_fault_ends_in_a_credential_or_in_its_documented_status_within_three_tries() {
    /// Faults that are waited for are waited for beside each other.
    const NODES: usize = 4;
    let table = table();
    assert_eq!(table.iter().map(|(fault, ..)| kind(fault)).collect::<BTreeSet<_>>().len(), 12);
    std::thread::scope(|scope| {
        for nth in 0..NODES {
            let share = table.iter().skip(nth).step_by(NODES);
            scope.spawn(move || {
                let node = Node::joined();
                for (fault, first, second) in share {
                    for (operation, ends) in [(Operation::Challenge, first), (Operation::MachineToken, second)] {
                        holds(&node, fault, operation, *ends);
                    }
                }
            });
        }
    });
    eprintln!("token.sh: {} faults in 2 requests, once and for good: {} cases", table.len(), table.len() * 4);
}

fn holds(node: &Node, fault: &Fault, operation: Operation, (once, always): Ends) {
    let when = When::operation(operation);
    for (when, expected, how) in [(when.clone().nth(1), once, "once"), (when, always, "for good")] {
        let azure = &node.site.game.emulator;
        azure.behave();
        node.site.game.himds.restart();
        azure.forget_requests();
        azure.inject(when, fault.clone());
        let ended = node.runs(DASH);
        let context = format!("{fault:?} in {operation:?} {how}: {}", ended.stderr());
        assert_eq!(ended.status(), expected, "{context}");
        let asked = azure.requests_for(operation).len();
        let tries = if expected == 69 { 3 } else { 1 + usize::from((once, always) == RETRIED) };
        assert_eq!(asked, tries, "{context}");
        if expected == 0 {
            let credential = ended.credential();
            let skewed = matches!(fault, Fault::Skew(_)) && operation == Operation::MachineToken;
            assert!(skewed || node.api_server_takes(&credential.token), "{context}");
        }
    }
}
