//! What a power cut keeps: the order in which a run writes, syncs, renames and removes, from its system calls.
//!
//! `kill -9` keeps what was written and not synced, so no kill matrix can show that a sync is missing.

use std::collections::BTreeSet;

use super::record::Call;
use super::stories::{CHANGED, CLONE, FIRST_JOIN, ROTATED, SETTLED};

#[test]
fn what_a_run_has_done_is_on_the_disk_before_it_does_the_next_thing() {
    for story in [FIRST_JOIN, SETTLED, ROTATED, CHANGED, CLONE] {
        let (calls, _) = story.undisturbed();
        let problems = problems(&calls);
        assert!(problems.is_empty(), "{}:\n{}", story.name, problems.join("\n"));
    }
}

#[test]
fn the_marker_comes_after_everything_else_and_the_secret_goes_between_its_two_names() {
    for story in [FIRST_JOIN, CHANGED, CLONE] {
        let (calls, _) = story.undisturbed();
        let at = |what: &dyn Fn(&Call) -> bool| calls.iter().rposition(|call| call.worked && what(call));
        let renamed_to = |name: &'static str| at(&move |call| call.to.as_deref().is_some_and(|to| to.contains(name)));
        let (farewell, joined) = (renamed_to("/joining.").unwrap(), renamed_to("/joined.").unwrap());
        let secret = at(&|call| call.name == "unlink" && call.path.as_deref() == Some("client-secret"));
        assert!(secret.is_none_or(|secret| farewell < secret && secret < joined), "{}", story.name);
        assert_eq!(secret.is_some(), story.name != CLONE.name, "{}", story.name);

        let program = at(&Call::starts_a_program).unwrap();
        let synced: Vec<_> = (program..farewell).filter(|nth| calls[*nth].name == "syncfs").collect();
        assert_eq!(
            synced.len(),
            2,
            "{}: /etc and /var/lib, after the last program and before the farewell",
            story.name
        );

        let after: Vec<_> = calls[joined + 1..].iter().map(|call| (call.name.as_str(), call.path.as_deref())).collect();
        assert_eq!(after, [("fsync", Some("root/var/lib/flexnode"))], "{}: nothing but its own sync", story.name);
    }
}

#[test]
fn an_order_that_loses_something_is_noticed() {
    let call = |name: &str, path: &str, to: Option<&str>| Call {
        name: name.into(),
        path: Some(path.into()),
        nth: 1,
        worked: true,
        to: to.map(str::to_owned),
    };
    let write = || call("write", "d/.f.partial", None);
    let sync = || call("fsync", "d/.f.partial", None);
    let rename = || call("rename", "d/.f.partial", Some("d/f"));
    let sync_directory = || call("fsync", "d", None);
    assert_eq!(problems(&[write(), sync(), rename(), sync_directory()]), [""; 0]);
    assert_eq!(problems(&[write(), rename(), sync_directory()]).len(), 1);
    assert_eq!(problems(&[sync(), write(), rename(), sync_directory()]).len(), 1);
    assert_eq!(problems(&[write(), sync(), rename()]).len(), 1);
    assert_eq!(problems(&[call("unlink", "d/secret", None), call("unlink", "e/f", None), sync_directory()]).len(), 2);
    assert_eq!(
        problems(&[call("mkdir", "d/e", None), call("openat", "d/e/.f.partial", None), sync_directory()]).len(),
        1
    );
    assert_eq!(problems(&[call("write", "d/f", None)]).len(), 1, "written in place");
}

/// What a power cut would lose or tear.
fn problems(calls: &[Call]) -> Vec<String> {
    let mut problems = Vec::new();
    // Files with content that is not synced, and directories whose names are not.
    let (mut files, mut directories) = (BTreeSet::new(), BTreeSet::new());
    for call in calls.iter().filter(|call| call.worked) {
        let path = call.path.as_deref().unwrap_or_default();
        let directory = path.rsplit_once('/').map_or(".", |(directory, _)| directory);
        let is_sync = ["fsync", "fdatasync", "syncfs"].contains(&call.name.as_str());
        let removes_more = call.name.starts_with("unlink") && directories.contains(directory);
        if !is_sync && !removes_more && !directories.is_empty() {
            problems.push(format!("{} {path} while names in {directories:?} are not synced", call.name));
            directories.clear();
        }
        match call.name.as_str() {
            "fsync" | "fdatasync" => {
                files.remove(path);
                directories.remove(path);
            }
            "openat" | "write" | "pwrite64" | "fchmod" | "ftruncate" => {
                if !path.ends_with(".partial") && !path.ends_with("/lock") {
                    problems.push(format!("{} {path}, in place", call.name));
                }
                files.insert(path);
            }
            _ => {}
        }
        if call.name.starts_with("rename") && files.remove(path) {
            problems.push(format!("rename {path} before its content is synced"));
        }
        if call.changes_a_directory() {
            directories.insert(directory);
        }
    }
    if !directories.is_empty() {
        problems.push(format!("the end, while names in {directories:?} are not synced"));
    }
    problems
}
