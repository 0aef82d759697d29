//! Any sequence of applies, edits and removals ends as a model says that fits on a page.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use flexnode_build::bundle::{Source, Verified};
use flexnode_build::progress::Progress;
use flexnode_build::root::{self as roots, Applying, Removing};
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop_oneof, proptest};
use tempfile::TempDir;

use super::{bundle, root, scratch};

const PATHS: [&str; 6] = ["etc/both", "etc/same", "etc/first", "etc/second", "usr/both", "usr/first"];

/// Two bundles: what each has at each of [`PATHS`].
const BUNDLES: [[Option<&str>; 6]; 2] = [
    [Some("one"), Some("same"), Some("one"), None, Some("one"), Some("one")],
    [Some("two"), Some("same"), None, Some("two"), Some("two"), None],
];

#[derive(Debug, Clone)]
enum Act {
    Apply { which: usize, force: bool },
    Write { path: usize, content: &'static str },
    Delete { path: usize },
    DeleteBeside { path: usize },
    Remove { changed_too: bool },
}

fn act() -> impl Strategy<Value = Act> {
    let content = prop_oneof![Just("one"), Just("two"), Just("same"), Just("mine")];
    prop_oneof![
        4 => (0..2_usize, any::<bool>()).prop_map(|(which, force)| Act::Apply { which, force }),
        4 => (0..PATHS.len(), content).prop_map(|(path, content)| Act::Write { path, content }),
        1 => (0..PATHS.len()).prop_map(|path| Act::Delete { path }),
        1 => (0..4_usize).prop_map(|path| Act::DeleteBeside { path }),
        1 => any::<bool>().prop_map(|changed_too| Act::Remove { changed_too }),
    ]
}

/// What is on the disk, and what we believe to have put there.
#[derive(Debug, Default)]
struct Model {
    disk: BTreeMap<String, &'static str>,
    record: BTreeMap<String, &'static str>,
}

impl Model {
    /// Whether it succeeds.
    fn apply(&mut self, which: usize, force: bool) -> bool {
        let bundle: Vec<(&str, &'static str)> =
            PATHS.iter().zip(BUNDLES[which]).filter_map(|(path, content)| Some((*path, content?))).collect();
        let foreign = |(path, new): &(&str, &str)| {
            let there = self.disk.get(*path);
            path.starts_with("usr/") && !self.record.contains_key(*path) && there.is_some_and(|there| there != new)
        };
        if !force && bundle.iter().any(foreign) {
            return false;
        }
        let old = std::mem::take(&mut self.record);
        for (path, new) in bundle {
            let (there, before) = (self.disk.get(path).copied(), old.get(path).copied());
            let beside = format!("{path}.flexnode-new");
            self.record.insert(path.to_owned(), new);
            if path.starts_with("usr/") || there.is_none() || there == Some(new) || there == before {
                self.disk.insert(path.to_owned(), new);
            } else if before != Some(new) {
                self.disk.insert(beside.clone(), new);
                self.record.insert(beside, new);
            } else if old.contains_key(&beside) && self.disk.contains_key(&beside) {
                self.record.insert(beside, new);
            }
        }
        let kept = self.record.clone();
        self.take_away(old.into_iter().filter(|(path, _)| !kept.contains_key(path)), false);
        true
    }

    fn remove(&mut self, changed_too: bool) {
        let record = std::mem::take(&mut self.record);
        self.take_away(record.into_iter(), changed_too);
    }

    fn take_away(&mut self, paths: impl Iterator<Item = (String, &'static str)>, changed_too: bool) {
        for (path, ours) in paths {
            if changed_too || self.disk.get(&path) == Some(&ours) {
                self.disk.remove(&path);
            }
        }
    }
}

fn verified() -> &'static [Verified; 2] {
    static BOTH: OnceLock<(TempDir, [Verified; 2])> = OnceLock::new();
    let (_, both) = BOTH.get_or_init(|| {
        let dir = scratch();
        let both = [0, 1].map(|which| {
            let files = PATHS.iter().zip(BUNDLES[which]).filter_map(|(path, content)| Some((*path, "0644", content?)));
            let path = bundle(dir.path(), &format!("{which}.tar.zst"), &files.collect::<Vec<_>>());
            Verified::verify(Source::open(&path).unwrap(), &quiet()).unwrap()
        });
        (dir, both)
    });
    both
}

fn quiet() -> Progress {
    Progress::plain_to(std::io::sink())
}

fn disk(root: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for directory in ["etc", "usr"] {
        for entry in fs::read_dir(root.join(directory)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().display().to_string();
            if path.is_file() && !["etc/hostname", "etc/os-release"].contains(&name.as_str()) {
                found.insert(name, fs::read_to_string(&path).unwrap());
            }
        }
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_applies_edits_and_removals_ends_as_the_model_says(
        acts in proptest::collection::vec(act(), 1..14)
    ) {
        let dir = scratch();
        let root = root(dir.path(), "root");
        let mut model = Model::default();
        for act in &acts {
            match act {
                Act::Apply { which, force } => {
                    let options = Applying { force: *force, ..Applying::default() };
                    let applied = roots::apply(&verified()[*which], &root, options, &quiet());
                    assert_eq!(applied.is_ok(), model.apply(*which, *force), "{applied:?} in {acts:?}");
                }
                Act::Write { path, content } => {
                    fs::write(root.join(PATHS[*path]), content).unwrap();
                    model.disk.insert(PATHS[*path].to_owned(), content);
                }
                Act::Delete { path } => {
                    drop(fs::remove_file(root.join(PATHS[*path])));
                    model.disk.remove(PATHS[*path]);
                }
                Act::DeleteBeside { path } => {
                    let beside = format!("{}.flexnode-new", PATHS[*path]);
                    drop(fs::remove_file(root.join(&beside)));
                    model.disk.remove(&beside);
                }
                Act::Remove { changed_too } => {
                    let options = Removing { changed_too: *changed_too, ..Removing::default() };
                    roots::remove(&root, options, &quiet()).unwrap();
                    model.remove(*changed_too);
                }
            }
            let expected: BTreeMap<String, String> =
                model.disk.iter().map(|(path, content)| (path.clone(), (*content).to_owned())).collect();
            assert_eq!(disk(&root), expected, "after {act:?} of {acts:?}");
        }
    }
}
