//! What the builder tells a person while it works: bars on a terminal, plain lines elsewhere, or only warnings.
//!
//! All of it goes to standard error; standard output is for data.

use std::fmt;
use std::io::{self, IsTerminal as _, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Where progress goes. Clones share one terminal.
#[derive(Clone)]
pub enum Progress {
    /// A bar for each download and one for all of them.
    Bars(Bars),
    /// One line for each thing that happened.
    Plain(Lines),
    /// Warnings alone.
    Quiet(Lines),
}

impl Progress {
    /// Bars on a terminal that can move its cursor, plain lines elsewhere; with `quiet`, warnings alone.
    #[must_use]
    pub fn detect(quiet: bool) -> Self {
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        if quiet {
            Self::Quiet(Lines::stderr())
        } else if io::stderr().is_terminal() && !dumb {
            Self::Bars(Bars::default())
        } else {
            Self::Plain(Lines::stderr())
        }
    }

    /// Plain lines to a writer of the caller's.
    #[must_use]
    pub fn plain_to(writer: impl Write + Send + 'static) -> Self {
        Self::Plain(Lines(Arc::new(Mutex::new(writer))))
    }

    /// Names the stage that begins.
    pub fn stage(&self, name: &str) {
        self.note(name);
    }

    /// Tells what a person may want to know. One line, without a final full stop.
    pub fn note(&self, text: &str) {
        match self {
            Self::Bars(bars) => bars.print(text),
            Self::Plain(lines) => lines.print(text),
            Self::Quiet(_) => {}
        }
    }

    /// Tells what a person should look at; `--quiet` does not silence it.
    pub fn warn(&self, text: &str) {
        let (before, after) = if coloured() { ("\x1b[33m", "\x1b[0m") } else { ("", "") };
        match self {
            Self::Bars(bars) => bars.print(&format!("{before}warning:{after} {text}")),
            Self::Plain(lines) | Self::Quiet(lines) => lines.print(&format!("warning: {text}")),
        }
    }

    /// Begins a download of `total` bytes, where that is known. Downloads that run at once have a sum.
    #[must_use]
    pub fn download(&self, name: &str, total: Option<u64>) -> Task {
        self.task(name, |bars| bars.download(name, total))
    }

    /// Begins work on `total` bytes.
    #[must_use]
    pub fn work(&self, name: &str, total: u64) -> Task {
        self.task(name, |bars| bars.work(name, total))
    }

    fn task(&self, name: &str, begin: impl FnOnce(&Bars) -> TaskBar) -> Task {
        let bar = match self {
            Self::Bars(bars) => Some(begin(bars)),
            Self::Plain(_) | Self::Quiet(_) => None,
        };
        Task { progress: self.clone(), name: name.to_owned(), bar }
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bars(_) => "Bars",
            Self::Plain(_) => "Plain",
            Self::Quiet(_) => "Quiet",
        })
    }
}

/// Colour only where a person sees it, and not against <https://no-color.org>.
fn coloured() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// One download, or one piece of work. Dropped without [`Task::done`], it just disappears from the screen.
#[derive(Debug)]
pub struct Task {
    progress: Progress,
    name: String,
    bar: Option<TaskBar>,
}

impl Task {
    /// `n` more bytes are there.
    pub fn advance(&self, n: u64) {
        if let Some(bar) = &self.bar {
            bar.own.inc(n);
            bar.sum.with(|sum| sum.inc(n));
        }
    }

    /// What was there counts no more: the download starts over.
    pub fn restart(&self) {
        if let Some(bar) = &self.bar {
            bar.sum.with(|sum| sum.dec(bar.own.position()));
            bar.own.reset();
        }
    }

    /// The download is complete and verified; `summary` says how large it is and where it came from.
    pub fn done(self, summary: &str) {
        self.progress.note(&format!("{}: {summary}", self.name));
    }
}

/// The bar of a task, and the sum of all that it is part of.
#[derive(Debug)]
struct TaskBar {
    own: ProgressBar,
    sum: Sum,
}

impl Drop for TaskBar {
    fn drop(&mut self) {
        self.own.finish_and_clear();
        self.sum.leave();
    }
}

/// The bar that sums up what runs at once; there while anything does.
#[derive(Debug, Clone, Default)]
struct Sum(Arc<Mutex<Option<Running>>>);

#[derive(Debug)]
struct Running {
    bar: ProgressBar,
    tasks: usize,
}

impl Sum {
    fn with(&self, change: impl FnOnce(&ProgressBar)) {
        if let Some(running) = &*self.lock() {
            change(&running.bar);
        }
    }

    /// The sum's bar, below all others, with one more task and its `length`.
    fn join(&self, all: &MultiProgress, length: Option<u64>) -> ProgressBar {
        let mut running = self.lock();
        let running = running.get_or_insert_with(|| Running { bar: all.add(bar("total", Some(0))), tasks: 0 });
        running.tasks += 1;
        match length {
            Some(length) => running.bar.inc_length(length),
            // A sum that lacks a part would be overrun.
            None => running.bar.set_style(style(UNKNOWN)),
        }
        running.bar.clone()
    }

    fn leave(&self) {
        let mut running = self.lock();
        if let Some(last) = running.take_if(|running| {
            running.tasks -= 1;
            running.tasks == 0
        }) {
            last.bar.finish_and_clear();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Running>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lines to a writer that clones share.
#[derive(Clone)]
pub struct Lines(Arc<Mutex<dyn Write + Send>>);

impl Lines {
    fn stderr() -> Self {
        Self(Arc::new(Mutex::new(io::stderr())))
    }

    fn print(&self, line: &str) {
        let mut writer = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Nobody can be told that standard error is closed, and a build must not fail for it.
        drop(writeln!(writer, "{line}"));
    }
}

impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lines")
    }
}

/// Bars below each other, the sum of all downloads last.
#[derive(Debug, Clone, Default)]
pub struct Bars {
    all: MultiProgress,
    downloads: Sum,
}

const KNOWN: &str = "{msg:24!} {wide_bar} {decimal_bytes:>10}/{decimal_total_bytes:10} {decimal_bytes_per_sec:>12}";
const WORK: &str = "{msg:24!} {wide_bar} {decimal_bytes:>10}/{decimal_total_bytes:10} {elapsed:>12}";
const UNKNOWN: &str = "{msg:24!} {spinner} {decimal_bytes:>10} {decimal_bytes_per_sec:>12}";

impl Bars {
    fn download(&self, name: &str, length: Option<u64>) -> TaskBar {
        let sum = self.downloads.join(&self.all, length);
        TaskBar { own: started(self.all.insert_before(&sum, bar(name, length))), sum: self.downloads.clone() }
    }

    fn work(&self, name: &str, length: u64) -> TaskBar {
        // The compressor takes in its input long before it is done: a time is true where a rate would not be.
        let own = bar(name, Some(length)).with_style(style(WORK));
        TaskBar { own: started(self.all.add(own)), sum: Sum::default() }
    }

    fn print(&self, line: &str) {
        // The same as for `Lines`: a closed terminal is no reason to stop.
        drop(self.all.println(line));
    }
}

/// Hidden until it is among the others, or it would draw on a line of its own.
fn bar(name: &str, length: Option<u64>) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(length, ProgressDrawTarget::hidden());
    bar.with_style(style(if length.is_some() { KNOWN } else { UNKNOWN })).with_message(name.to_owned())
}

fn started(bar: ProgressBar) -> ProgressBar {
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_invalid| ProgressStyle::default_bar())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no panic").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn tell_everything(progress: &Progress) {
        progress.stage("fetching");
        let task = progress.download("kubelet 1.30.4", Some(10));
        task.advance(10);
        task.restart();
        task.advance(10);
        task.done("10 B from the cache");
        drop(progress.download("runc 1.1.12", None));
        progress.warn("careful");
    }

    #[test]
    fn plain_lines_tell_what_happened_and_quiet_ones_only_what_is_wrong() {
        let plain = Shared::default();
        tell_everything(&Progress::plain_to(plain.clone()));
        let told = String::from_utf8(plain.0.lock().expect("no panic").clone()).expect("text");
        assert_eq!(told, "fetching\nkubelet 1.30.4: 10 B from the cache\nwarning: careful\n");

        let quiet = Shared::default();
        tell_everything(&Progress::Quiet(Lines(Arc::new(Mutex::new(quiet.clone())))));
        assert_eq!(*quiet.0.lock().expect("no panic"), b"warning: careful\n");
    }

    #[test]
    fn bars_count_a_restarted_download_once() {
        let bars = Bars::default();
        let progress = Progress::Bars(bars.clone());
        let one = progress.download("kubelet", Some(100));
        let two = progress.download("runc", Some(50));
        one.advance(60);
        one.restart();
        one.advance(100);
        two.advance(20);
        bars.downloads.with(|sum| assert_eq!((sum.position(), sum.length()), (120, Some(150))));
        drop((one, two));
        assert!(bars.downloads.lock().is_none());
    }
}
