//! What the join tells while it runs: journal lines, systemd's `STATUS=`, and `state.json` for `status`.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::failure::{Failure, plain};
use crate::journal::{Journal, Priority};
use crate::notify::Notifier;
use crate::state::{Phase, State, Step};

/// Tells people how far the join is. Nothing here decides anything, so nothing here fails the join.
#[derive(Debug)]
pub struct Progress {
    journal: Journal,
    notifier: Notifier,
    path: Option<PathBuf>,
    state: Mutex<State>,
}

impl Progress {
    /// Tells `journal` and `notifier`, and writes the state to `path` if there is one.
    #[must_use]
    pub fn new(journal: Journal, notifier: Notifier, path: Option<PathBuf>) -> Self {
        Self { journal, notifier, path, state: Mutex::new(State::default()) }
    }

    /// Tells nobody.
    #[must_use]
    pub fn silent() -> Self {
        Self::new(Journal::silent(), Notifier::default(), None)
    }

    /// A step begins.
    pub fn begin(&self, step: Step) {
        self.journal.say(Priority::Info, &format!("{step}: begins"), &[("STEP", step.name()), ("EVENT", "begin")]);
        self.notifier.status(&step.to_string());
        self.change(|state| state.enter(step, Phase::Running));
    }

    /// A step is done, now or long ago.
    pub fn done(&self, step: Step) {
        self.journal.say(Priority::Info, &format!("{step}: done"), &[("STEP", step.name()), ("EVENT", "done")]);
        self.change(|state| state.enter(step, Phase::Done));
    }

    /// Something worth a line within a step.
    pub fn note(&self, step: Step, text: &str) {
        self.journal.say(Priority::Info, &format!("{step}: {text}"), &[("STEP", step.name()), ("EVENT", "note")]);
    }

    /// Something that people should look at although the join goes on.
    pub fn warn(&self, text: &str) {
        self.journal.say(Priority::Warning, text, &[("EVENT", "warning")]);
    }

    /// An attempt failed and another follows after `pause`.
    pub fn retrying(&self, step: Step, attempt: u32, error: &str, pause: Duration) {
        let error = plain(error);
        // The same again and again says nothing new: the 1st, 2nd, 4th, 8th… time is enough for the journal.
        let is_new = {
            let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.last_error(step) != Some(error.as_str())
        };
        self.change(|state| state.attempt(step, attempt, &error));
        if !is_new && !attempt.is_power_of_two() {
            return;
        }
        let milliseconds = pause.as_millis().to_string();
        let attempts = attempt.to_string();
        self.journal.say(
            Priority::Warning,
            &format!("{step}: attempt {attempt}: {error}; again in {:.1} s", pause.as_secs_f64()),
            &[
                ("STEP", step.name()),
                ("EVENT", "retry"),
                ("ATTEMPT", &attempts),
                ("PAUSE_MS", &milliseconds),
                ("ERROR", &error),
            ],
        );
        self.notifier.status(&format!("{step}: waiting, attempt {attempt}: {error}"));
    }

    /// The join ends in an error, in whatever step it is.
    pub fn failed(&self, error: &anyhow::Error) {
        let (exit, hint) = Failure::describe(error);
        let message = plain(&format!("{error:#}"));
        let code = (exit as u8).to_string();
        self.journal.say(
            Priority::Error,
            &format!("failed: {message}; {hint}"),
            &[("EVENT", "failed"), ("EXIT", &code), ("ERROR", &message), ("HINT", hint)],
        );
        self.notifier.status(&format!("failed: {message}"));
        self.change(|state| state.fail(&message, hint));
    }

    /// The node has joined.
    pub fn joined(&self, node: &str) {
        self.journal.say(Priority::Notice, &format!("{node} has joined"), &[("EVENT", "joined"), ("NODE", node)]);
        self.notifier.status(&format!("{node} has joined"));
        self.notifier.ready();
    }

    /// A settled node was found settled. Nothing is written, unless `state.json` still tells of a run that was killed or
    /// failed after all had been done.
    pub fn settled(&self, node: &str) {
        let told = self.path.as_deref().map(State::read);
        if told.is_some_and(|told| !told.ok().flatten().is_some_and(|state| state.is_done())) {
            self.change(State::finish);
        }
        self.journal.say(Priority::Info, &format!("{node} has joined; nothing to do"), &[("EVENT", "settled")]);
        self.notifier.status(&format!("{node} has joined"));
        self.notifier.ready();
    }

    /// Before the first step: what systemd shows.
    pub fn status(&self, text: &str) {
        self.notifier.status(text);
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut state);
        if let Some(path) = &self.path
            && let Err(error) = state.write(path)
        {
            self.journal.say(Priority::Warning, &format!("the state is not written: {error:#}"), &[]);
        }
    }
}
