//! All cells, a few at a time; what was seen, and everything that went wrong.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::cell::Cell;

/// More than there are processors: most of a run is waiting for answers, for the disk, and for what hangs.
const HANDS: usize = 6;

/// Runs the cells that fit `FAULT_MATRIX`, a part of their names; all if it is not set.
pub(crate) fn run(cells: Vec<Cell>) {
    let wanted = std::env::var("FAULT_MATRIX").unwrap_or_default();
    let cells: Vec<Cell> = cells.into_iter().filter(|cell| cell.name().contains(&wanted)).collect();
    assert!(!cells.is_empty(), "no cell is called {wanted:?}");
    let next = AtomicUsize::new(0);
    let ended = Mutex::new(BTreeMap::<i32, usize>::new());
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..HANDS {
            scope.spawn(|| {
                while let Some(cell) = cells.get(next.fetch_add(1, Ordering::SeqCst)) {
                    match cell.run() {
                        Ok(codes) => {
                            let mut ended = ended.lock().unwrap();
                            codes.into_iter().for_each(|code| *ended.entry(code).or_default() += 1);
                        }
                        Err(why) => failed.lock().unwrap().push(format!("{}: {why}", cell.name())),
                    }
                }
            });
        }
    });
    let (ended, failed) = (ended.into_inner().unwrap(), failed.into_inner().unwrap());
    let codes: Vec<String> = ended.iter().map(|(code, runs)| format!("{runs} ended with {code}")).collect();
    eprintln!("{} cells, {} runs: {}", cells.len(), ended.values().sum::<usize>(), codes.join(", "));
    assert!(failed.is_empty(), "{} cells failed:\n\n{}", failed.len(), failed.join("\n\n"));
}
