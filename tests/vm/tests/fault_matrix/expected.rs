//! How a join ends that meets a fault for good. A fault that a network, a proxy or a booting machine can bring about
//! must never end in a code after which the unit stops (1, 77, 78): nobody is there to start it again.

use self::Ends::{Fails, Joins};

use crate::faults::{FAULTS, TLS};
use crate::requests::{NAMES, REQUESTS, SERVICES};

/// The end of a join.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ends {
    /// Exit code 0.
    Joins,
    /// This exit code, and a hint that says this.
    Fails(i32, &'static str),
}

/// A line of the table; no names are all names.
struct Line {
    requests: &'static [&'static str],
    faults: &'static [&'static str],
    ends: Ends,
}

const fn line(requests: &'static [&'static str], faults: &'static [&'static str], ends: Ends) -> Line {
    Line { requests, faults, ends }
}

const WAIT: Ends = Fails(75, "nothing to do; it is tried again");
const PORTAL: Ends = Fails(75, "a proxy or a portal may be in between");
const NETWORK: Ends =
    Fails(75, "see whether DNS, the firewall and networking.httpProxyConfig let this machine reach it");
const CLOCK: Ends = Fails(75, "`timedatectl`");
const ARC_AGENT: Ends = Fails(75, "`azcmagent check` tells which endpoint it cannot reach");
const KUBELET: Ends = Fails(75, "`journalctl -u kubelet -n 100`");
const HIMDS: Ends = Fails(75, "see `systemctl status himdsd` and `journalctl -u himdsd`");
const IMPOSTOR: Ends = Fails(77, "see what listens there: `ss -tlnp` and `systemctl status himdsd`");

const ALL: &[&str] = &[];
const CHALLENGES: &[&str] = &["HIMDS challenge for ARM", "HIMDS challenge for AKS"];
const MACHINE_TOKENS: &[&str] = &["HIMDS token for ARM", "HIMDS token for AKS"];
const OF_KUBELET: &[&str] = &["kubelet: HIMDS challenge", "kubelet: HIMDS token", "kubelet: Node"];
const OF_ARC_AGENT: &[&str] =
    &["azcmagent: cloud", "azcmagent: token", "azcmagent: machine", "azcmagent: registration"];

/// The first line that fits counts.
const TABLE: &[Line] = &[
    // Between this machine and itself there is no portal: what takes the place of HIMDS is never told anything, and
    // somebody has to look. All else that himdsd does may pass.
    line(CHALLENGES, &["302 to a portal", "200 page", "200 other JSON", "200 empty"], IMPOSTOR),
    line(MACHINE_TOKENS, &["302 to a portal"], IMPOSTOR),
    // The copy of the request has used up the challenge, as a restart of himdsd in between would.
    line(MACHINE_TOKENS, &["twice"], HIMDS),
    line(&["kubelet: HIMDS token"], &["twice"], KUBELET),
    // Tokens are Entra ID's; himdsd's clock only says how long it keeps them.
    line(CHALLENGES, &["clock ahead", "clock behind"], Joins),
    line(MACHINE_TOKENS, &["clock ahead", "clock behind"], Joins),
    line(&["kubelet: HIMDS challenge", "kubelet: HIMDS token"], &["clock ahead", "clock behind"], Joins),
    // What it tells is not bound to a time.
    line(&["cloud", "azcmagent: cloud"], &["clock ahead", "clock behind"], Joins),
    // The Node is ready before it has a lease, and the kubelet goes on trying.
    line(&["kubelet: lease"], ALL, Joins),
    line(ALL, &["slow", "twice"], Joins),
    line(CHALLENGES, ALL, HIMDS),
    line(MACHINE_TOKENS, ALL, HIMDS),
    // These programs' requests are theirs to explain; the hint says how to ask them.
    line(OF_ARC_AGENT, ALL, ARC_AGENT),
    line(OF_KUBELET, ALL, KUBELET),
    // It reads like an answer in which what is waited for is not there yet.
    line(&["machine's identity"], &["200 other JSON"], Fails(75, "see `az connectedmachine show --ids")),
    line(&["Node"], &["200 other JSON"], KUBELET),
    line(
        ALL,
        &["302 to a portal", "200 page", "200 other JSON", "200 empty", "401 page", "403 page", "404 page"],
        PORTAL,
    ),
    line(ALL, &["502 page", "throttled", "408", "500", "502", "503", "504"], WAIT),
    line(ALL, &["clock ahead", "clock behind"], CLOCK),
    // A wrong clock looks the same as a wrong certificate.
    line(ALL, &["unknown authority", "wrong name", "expired"], CLOCK),
    line(ALL, ALL, NETWORK),
];

/// How a join ends if the fault stays.
pub(crate) fn if_it_stays(request: &str, fault: &str) -> Ends {
    first(request, fault).map_or(NETWORK, |nth| TABLE[nth].ends)
}

fn first(request: &str, fault: &str) -> Option<usize> {
    let fits = |names: &[&str], name: &str| names.is_empty() || names.contains(&name);
    TABLE.iter().position(|line| fits(line.requests, request) && fits(line.faults, fault))
}

/// How a join ends if the fault befalls the first request only: well, but for what is never tried again.
pub(crate) fn if_it_passes(request: &str, fault: &str) -> Ends {
    match if_it_stays(request, fault) {
        Fails(77, hint) => Fails(77, hint),
        _ => Joins,
    }
}

#[test]
fn every_line_is_about_something_and_decides_some_cell() {
    let requests = REQUESTS.iter().map(|request| request.name);
    let requests: Vec<&str> =
        requests.chain(SERVICES.map(|(name, _)| name)).chain(NAMES.map(|(name, _)| name)).collect();
    let faults: Vec<&str> = FAULTS.iter().map(|fault| fault.name).chain(TLS.map(|(name, _)| name)).collect();
    for (nth, line) in TABLE.iter().enumerate() {
        assert!(line.requests.iter().all(|name| requests.contains(name)), "line {nth}: {:?}", line.requests);
        assert!(line.faults.iter().all(|name| faults.contains(name)), "line {nth}: {:?}", line.faults);
        let decides = |request: &&str| faults.iter().any(|fault| first(request, fault) == Some(nth));
        assert!(requests.iter().any(decides), "line {nth} decides nothing");
    }
}

#[test]
fn nothing_but_what_takes_the_place_of_himds_stops_the_unit() {
    let stops = TABLE.iter().filter(|line| matches!(line.ends, Fails(code, _) if code != 75));
    assert!(stops.into_iter().all(|line| line.requests == CHALLENGES || line.requests == MACHINE_TOKENS));
}
