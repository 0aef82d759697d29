//! The kill matrix of a story: cut off everywhere, looked at, perhaps without power, run again, compared.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::slice;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use flexnode_vm::azure::contoso;

use super::cut::Cut;
use super::end_state::{EndState, Words, differences, end_state, walk};
use super::machine::Machine;
use super::record::{Call, record};

/// A run that is cut off.
#[derive(Debug)]
pub(crate) struct Story {
    /// What it is called in what tests print.
    pub(crate) name: &'static str,
    /// Leads a new machine to where that run begins.
    pub(crate) before: fn(&Machine),
    /// What must hold in the moment after it was cut off.
    pub(crate) meanwhile: fn(&Machine),
}

impl Story {
    fn begin(&self) -> Machine {
        let machine = Machine::new();
        (self.before)(&machine);
        machine
    }

    /// What the run changes, and how it ends, when nothing disturbs it.
    pub(crate) fn undisturbed(&self) -> (Vec<Call>, EndState) {
        let machine = self.begin();
        let calls = record(&machine);
        let end = end_state(&machine);
        for path in end.keys() {
            for leftover in [".partial", "azcmagent-connect", "-due", "/joining."] {
                assert!(!path.contains(leftover), "{}: {path} is left over", self.name);
            }
        }
        (calls, end)
    }

    /// Cuts the run off everywhere, one case each.
    pub(crate) fn is_cut_off_everywhere(&self) {
        let matrix = Matrix::of(self);
        let (points, calls) = (matrix.at_every_point(), matrix.in_place_of_every_call());
        eprintln!("{}: killed at {points} points by itself, in place of {calls} calls", self.name);
        matrix.nothing_failed();
    }

    /// Cuts the run off, and the next one too; every first point with another second one.
    pub(crate) fn is_cut_off_twice(&self) {
        let matrix = Matrix::of(self);
        eprintln!("{}: killed twice at {} pairs of points", self.name, matrix.at_pairs_of_points());
        matrix.nothing_failed();
    }
}

/// Workers beside each other: a case waits for programs most of its time.
const WORKERS: usize = 3;

struct Matrix<'a> {
    story: &'a Story,
    calls: Vec<Call>,
    end: EndState,
    failed: AtomicUsize,
}

impl<'a> Matrix<'a> {
    fn of(story: &'a Story) -> Self {
        let (calls, end) = story.undisturbed();
        Self { story, calls, end, failed: AtomicUsize::new(0) }
    }

    fn nothing_failed(self) {
        assert_eq!(self.failed.into_inner(), 0, "cases of {} failed; they are named above", self.story.name);
    }

    /// So many failures say enough; and where all cases fail, no last point would be found.
    fn goes_on(&self) -> bool {
        self.failed.load(Ordering::Relaxed) < 10
    }

    /// From the first point on until there are no more; how many there are.
    fn at_every_point(&self) -> u32 {
        let (next, past) = (AtomicU32::new(1), AtomicU32::new(u32::MAX));
        in_parallel(|| {
            while self.goes_on() {
                let nth = next.fetch_add(1, Ordering::Relaxed);
                if nth >= past.load(Ordering::Relaxed) {
                    break;
                }
                if !self.case(&[Cut::Point(nth)]) {
                    past.fetch_min(nth, Ordering::Relaxed);
                }
            }
        });
        past.into_inner() - 1
    }

    fn in_place_of_every_call(&self) -> usize {
        let chosen = chosen(&self.calls);
        let next = AtomicUsize::new(0);
        in_parallel(|| {
            while let Some(call) = chosen.get(next.fetch_add(1, Ordering::Relaxed)).filter(|_| self.goes_on()) {
                let cut = Cut::InPlaceOf((*call).clone());
                if !self.case(slice::from_ref(&cut)) {
                    eprintln!("{}: {cut:?} FAILED: it killed nothing", self.story.name);
                    self.failed.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        chosen.len()
    }

    /// Every first point with one second point; how many runs were killed twice.
    fn at_pairs_of_points(&self) -> u32 {
        const STRIDE: u32 = 37;
        let (next, past, pairs) = (AtomicU32::new(1), AtomicU32::new(u32::MAX), AtomicU32::new(0));
        in_parallel(|| {
            while self.goes_on() {
                let first = next.fetch_add(1, Ordering::Relaxed);
                if first >= past.load(Ordering::Relaxed) {
                    break;
                }
                // The first one leaves fewer points to the second run the later it is.
                let second = 1 + first * STRIDE % 60;
                match self.case(&[Cut::Point(first), Cut::Point(second)]) {
                    true => pairs.fetch_add(1, Ordering::Relaxed),
                    false => past.fetch_min(first, Ordering::Relaxed),
                };
            }
        });
        pairs.into_inner()
    }

    /// One case; tells whether every cut found something to kill. What fails does not keep the others from being tried.
    fn case(&self, cuts: &[Cut]) -> bool {
        let case = catch_unwind(AssertUnwindSafe(|| self.holds(cuts)));
        case.unwrap_or_else(|_| {
            eprintln!("{}: {cuts:?} FAILED", self.story.name);
            self.failed.fetch_add(1, Ordering::Relaxed);
            true
        })
    }

    fn holds(&self, cuts: &[Cut]) -> bool {
        let machine = self.story.begin();
        let before = contents(&machine);
        let mut killed = true;
        for cut in cuts {
            killed &= cut.kills(&machine);
            self.nothing_is_torn(&machine, &before, cut);
            self.the_unit_continues_at_boot(&machine, &before, cut);
            (self.story.meanwhile)(&machine);
            if loses_power(cut) {
                machine.reboots();
            }
        }
        machine.joins_and_restarts_the_kubelet_only_when_due();
        let differences = differences(&end_state(&machine), &self.end);
        assert!(differences.is_empty(), "{cuts:?} ends differently:\n{}", differences.join("\n"));
        killed
    }

    /// Every file is as it was or as it will be, and what holds the secret is for its owner alone.
    fn nothing_is_torn(&self, machine: &Machine, before: &BTreeMap<String, Vec<u8>>, cut: &Cut) {
        let words = Words::of(machine);
        for (name, bytes) in contents(machine) {
            let context = || format!("{}: {name} after {cut:?}", self.story.name);
            let text = String::from_utf8_lossy(&bytes);
            if text.contains(contoso::SECRET) {
                let path = machine.dir().join(&name);
                assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o077, 0, "{}", context());
            }
            if name.ends_with(".partial") || before.get(&name) == Some(&bytes) {
                continue;
            }
            if name.ends_with("state.json") || name.ends_with("azcmagent-connect.json") {
                serde_json::from_str::<serde_json::Value>(&text)
                    .unwrap_or_else(|error| panic!("{}: {error}", context()));
                continue;
            }
            let known = self.end.get(&format!("file {name}")).and_then(|state| state.split_once('\n'));
            let whole = words.put(&text);
            // Notes and markers that the end does not know: empty, or whole as JSON.
            let passing = bytes.is_empty() || serde_json::from_str::<serde_json::Value>(&text).is_ok();
            assert!(known.map_or(passing, |(_, content)| content == whole), "{}: {text}", context());
        }
    }
}

impl Matrix<'_> {
    /// The marker, with which the unit is skipped, is there only while nothing has changed yet, or when all is done.
    fn the_unit_continues_at_boot(&self, machine: &Machine, before: &BTreeMap<String, Vec<u8>>, cut: &Cut) {
        let id = fs::read_to_string(machine.path("etc/machine-id")).unwrap();
        if !machine.path(&format!("var/lib/flexnode/joined.{}", id.trim())).exists() {
            return;
        }
        let counts = |name: &String| !["/run/", "state.json", ".partial"].iter().any(|part| name.contains(part));
        let [before, after] = [before.clone(), contents(machine)]
            .map(|files| files.into_iter().filter(|(name, _)| counts(name)).collect::<BTreeMap<_, _>>());
        let words = Words::of(machine);
        let is_final = |(name, bytes): (&String, &Vec<u8>)| {
            let known = self.end.get(&format!("file {name}")).and_then(|state| state.split_once('\n'));
            known.is_some_and(|(_, content)| content == words.put(&String::from_utf8_lossy(bytes)))
        };
        let told = || format!("{}: after {cut:?} the unit would be skipped", self.story.name);
        assert!(before == after || after.iter().all(is_final), "{}", told());
    }
}

/// Every second case, so that each kind of place meets both: killed, and without power.
fn loses_power(cut: &Cut) -> bool {
    match cut {
        Cut::Point(nth) => nth % 2 == 0,
        Cut::InPlaceOf(call) => call.path.as_deref().map_or(call.nth, |path| path.len() as u32 + call.nth) % 2 == 0,
    }
}

/// The calls to kill at. state.json is written at every step, and only for people: its first and its last are enough.
fn chosen(calls: &[Call]) -> Vec<&Call> {
    let is_state = |call: &Call| call.path.as_deref().is_some_and(|path| path.contains("state.json"));
    let last = calls.iter().filter(|call| is_state(call)).map(|call| call.nth).max().unwrap_or_default();
    calls.iter().filter(|call| !is_state(call) || call.nth == 1 || call.nth == last).collect()
}

fn contents(machine: &Machine) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    walk(&machine.path(""), "root", &mut |name, path| {
        if path.symlink_metadata().unwrap().is_file() {
            files.insert(name.to_owned(), fs::read(path).unwrap());
        }
    });
    files
}

fn in_parallel(work: impl Fn() + Sync) {
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(&work);
        }
    });
}
