//! Power cuts in the first boot. Each takes what was not synced: the root is on a disk of its own.

use std::collections::hash_map::RandomState;
use std::fs;
use std::hash::{BuildHasher as _, Hasher as _};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use flexnode_build::root::verify;
use flexnode_vm::azure::contoso;
use flexnode_vm::node::{NAME, Node};

use super::prepare;
use super::unit::{firstboot, journal};

/// So many cuts lie between power-on and joined; two more are in the package's own scripts.
const CUTS: usize = 8;

/// When Azure stops in the middle of an answer, and the power fails.
#[derive(Clone, Copy)]
enum Moment {
    /// As soon as systemd is at work.
    PowerOn,
    /// The nth request since then has had its effect.
    Request(usize),
    /// A script of the Arc agent's package is at work.
    Script(&'static str),
}

#[test]
fn after_a_power_cut_at_any_moment_of_the_first_boot_the_next_boot_joins() {
    let seed = std::env::var("FLEXNODE_SEED").map_or_else(|_| seed(), |seed| seed.parse().unwrap());
    eprintln!("power: FLEXNODE_SEED={seed}");
    let undisturbed = machine("undisturbed");
    let guest = undisturbed.boot().unwrap();
    assert!(firstboot(&guest), "{}", journal(&guest));
    let requests = undisturbed.azure.requests().len();
    guest.power_off().unwrap();
    let left = left(&undisturbed);

    // One in each part of the way, so that none is spared.
    let moments = (0..CUTS).map(|part| {
        let (from, to) = (part * requests / CUTS, (part + 1) * requests / CUTS);
        let within = usize::try_from(random(seed, part) % 1_000_000).unwrap() % (to - from).max(1);
        if from + within == 0 { Moment::PowerOn } else { Moment::Request(from + within) }
    });
    for (nth, moment) in moments.chain(["preinst", "postinst"].map(Moment::Script)).enumerate() {
        let name = match &moment {
            Moment::PowerOn => "power-on".to_owned(),
            Moment::Request(request) => format!("request {request} of {requests}"),
            Moment::Script(script) => format!("the package's {script}"),
        };
        eprintln!("power: cut at {name}");
        let node = machine(&format!("cut-{nth}"));
        let stopped = stop(&node, &moment);
        let guest = node.boot().unwrap();
        stopped.0.recv_timeout(Duration::from_secs(120)).unwrap_or_else(|_| panic!("no {name}"));
        node.cut_power(guest).unwrap();
        drop(stopped);

        let guest = node.boot().unwrap();
        assert!(firstboot(&guest), "cut at {name}: {}", journal(&guest));
        assert!(node.is_ready(NAME), "cut at {name}");
        guest.power_off().unwrap();
        assert_eq!(self::left(&node), left, "cut at {name}");
    }
}

#[test]
fn a_power_cut_takes_what_nobody_has_synced() {
    let node = machine("unsynced");
    let guest = node.boot().unwrap();
    guest.ask("sh", &["-c", "echo kept >/root/kept && sync && echo lost >/root/lost"]).unwrap();
    node.cut_power(guest).unwrap();
    let text = |name: &str| fs::read_to_string(node.path(name)).unwrap_or_default();
    assert_eq!([text("/root/kept"), text("/root/lost")], ["kept\n", ""]);
}

/// A machine on a disk, whose package tells Azure when its scripts run.
fn machine(name: &str) -> Node {
    let node = prepare(contoso::world(), &format!("power-{name}"));
    node.hurry().unwrap();
    for script in ["preinst", "postinst"] {
        add_script(&node, script, &format!("curl --silent --output /dev/null http://127.0.0.1:40342/lab/{script}"));
    }
    node.on_a_disk().unwrap()
}

/// Adds a maintainer's script to the Arc agent's package.
pub(crate) fn add_script(node: &Node, script: &str, line: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    let package = node.path("/usr/share/flexnode/debs/azcmagent_1.61_amd64.deb");
    let tree = tempfile::tempdir().unwrap();
    let dpkg_deb = |arguments: &[&Path]| {
        let output = Command::new("dpkg-deb").args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    dpkg_deb(&[Path::new("--raw-extract"), &package, tree.path()]);
    let path = tree.path().join("DEBIAN").join(script);
    fs::write(&path, format!("#!/bin/sh\nset -e\n{line}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    dpkg_deb(
        &["--root-owner-group", "-Znone", "--build"]
            .map(Path::new)
            .into_iter()
            .chain([tree.path(), &package])
            .collect::<Vec<_>>(),
    );
}

/// Lets all of Azure stand still when the moment comes, until the answer is dropped; its first half tells of that.
fn stop(node: &Node, moment: &Moment) -> (Receiver<()>, Sender<()>) {
    let ((tell, told), (thaw, thawed)) = (channel(), channel());
    let (seen, moment) = (AtomicUsize::new(0), *moment);
    if matches!(moment, Moment::PowerOn) {
        tell.send(()).unwrap();
        return (told, thaw);
    }
    node.azure.observe(move |request| {
        let nth = seen.fetch_add(1, Ordering::SeqCst) + 1;
        let has_come = match moment {
            Moment::PowerOn => false,
            Moment::Request(wanted) => nth == wanted,
            Moment::Script(script) => request.path.strip_prefix("/lab/") == Some(script),
        };
        if has_come {
            // Who no longer listens needs not be told; it goes on when the other end is gone.
            let _ = tell.send(());
            let _ = thawed.recv();
        }
    });
    (told, thaw)
}

/// What a join leaves behind that a cut may not change: in Azure, against the bundle's record, and in files that nobody
/// should see.
fn left(node: &Node) -> Vec<String> {
    let mut left: Vec<String> = Vec::new();
    for machine in node.azure.machines() {
        left.push(format!("machine {}", machine.name));
        let assignments = node.azure.assignments(&machine.principal_id);
        left.extend(assignments.iter().map(|one| format!("role {} at {}", one.role, one.scope)));
    }
    let nodes = node.azure.nodes(&contoso::cluster_id());
    left.extend(nodes.iter().map(|node| format!("node {}", node["metadata"]["name"])));
    let findings = verify(&node.root(), false).unwrap().findings;
    left.extend(findings.iter().map(|finding| format!("{} {}", finding.problem, finding.path)));
    for directory in ["/etc", "/opt", "/usr/local", "/var/lib/flexnode", "/var/lib/kubelet", "/var/opt"] {
        unfinished(&node.path(directory), &mut left);
    }
    left.sort();
    left
}

/// Files under a name that only an unfinished write has.
fn unfinished(directory: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(directory).into_iter().flatten() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if ["tmp", "partial", "dpkg-new"].iter().any(|end| name.ends_with(end)) {
            found.push(format!("unfinished {}", path.display()));
        }
        if path.symlink_metadata().unwrap().is_dir() {
            unfinished(&path, found);
        }
    }
}

/// Another seed for each run.
fn seed() -> u64 {
    RandomState::new().build_hasher().finish() % 1_000_000
}

/// A number that a seed and a place give: SplitMix64's.
fn random(seed: u64, place: usize) -> u64 {
    let mixed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(place as u64 + 1));
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}
