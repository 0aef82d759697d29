//! libFuzzer's program around the target that `FUZZ_TARGET` names; with `FUZZ_TARGET=list` it names them all.

#![no_main]

use std::sync::LazyLock;

use flexnode_fuzz::{FuzzTarget, TARGETS};
use libfuzzer_sys::fuzz_target;

static CHOSEN: LazyLock<FuzzTarget> = LazyLock::new(|| {
    let wanted = std::env::var("FUZZ_TARGET").unwrap_or_default();
    if let Some(target) = TARGETS.iter().find(|(name, _)| *name == wanted) {
        return *target;
    }
    TARGETS.iter().for_each(|(name, _)| println!("{name}"));
    std::process::exit(i32::from(wanted != "list"));
});

fuzz_target!(init: LazyLock::force(&CHOSEN), |bytes: &[u8]| {
    (CHOSEN.1)(bytes);
});
