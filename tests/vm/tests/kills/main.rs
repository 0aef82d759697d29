//! Killed or without power at any moment and run again: the end is that of a run that nothing disturbed.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod cut;
mod end_state;
mod machine;
mod matrix;
mod record;
mod settled;
mod stories;
mod sync_order;
mod told_to_end;

use stories::{CHANGED, CLONE, FIRST_JOIN, ROTATED, SETTLED};

#[test]
fn a_first_join_ends_the_same() {
    FIRST_JOIN.is_cut_off_everywhere();
}

#[test]
fn a_first_join_that_is_cut_off_twice_ends_the_same() {
    FIRST_JOIN.is_cut_off_twice();
}

#[test]
fn a_settled_node_stays_settled() {
    SETTLED.is_cut_off_everywhere();
}

#[test]
fn a_node_whose_cluster_has_another_ca_gets_it() {
    ROTATED.is_cut_off_everywhere();
}

#[test]
fn a_changed_config_arrives() {
    CHANGED.is_cut_off_everywhere();
}

#[test]
fn a_clone_joins_as_a_machine_of_its_own() {
    CLONE.is_cut_off_everywhere();
}
