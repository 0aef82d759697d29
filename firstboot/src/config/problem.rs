//! What is wrong in a config: every problem at once, each with its key and its cure.

use std::fmt;
use std::str::FromStr;

/// Why a value is refused, and the cure. What refuses a value does not know which key it stood under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flaw {
    /// Reads on after "key: "; lower case, no full stop, never a value that could be a secret.
    pub message: String,
    /// What to write instead.
    pub hint: String,
}

impl Flaw {
    /// A flaw and its cure.
    pub fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: message.into(), hint: hint.into() }
    }
}

/// A flaw and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file, where one file is to blame; empty for what only the merged config shows.
    pub source: String,
    /// Dotted path of the key, such as `node.taints[1]`; empty for the file as a whole.
    pub key: String,
    /// What is wrong and the cure.
    pub flaw: Flaw,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for place in [&self.source, &self.key] {
            if !place.is_empty() {
                write!(f, "{place}: ")?;
            }
        }
        f.write_str(&self.flaw.message)
    }
}

/// All problems of a config, in the order in which they were found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// The problems, first found first.
    #[must_use]
    pub fn list(&self) -> &[Problem] {
        &self.0
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn of_file(source: &str, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self(vec![Problem { source: source.into(), key: String::new(), flaw: Flaw::new(message, hint) }])
    }

    pub(super) fn append(&mut self, mut more: Self) {
        self.0.append(&mut more.0);
    }

    pub(super) fn push(&mut self, problem: Problem) {
        self.0.push(problem);
    }

    pub(super) fn refuse(&mut self, key: impl Into<String>, flaw: Flaw) {
        self.push(Problem { source: String::new(), key: key.into(), flaw });
    }

    /// Reports that `key` is needed, unless a misspelt or misshapen key nearby is the likely reason for its absence.
    pub(super) fn missing(&mut self, key: &str, hint: impl Into<String>) {
        let explained = self.0.iter().any(|known| {
            !known.source.is_empty() && {
                let section = known.key.rsplit_once('.').map_or("", |(section, _)| section);
                section.is_empty() || key.starts_with(&format!("{section}."))
            }
        });
        if !explained {
            self.refuse(key, Flaw::new("missing", hint));
        }
    }

    /// Parses the value of `key` if there is one, and notes its flaw if it has one.
    pub(super) fn parse<T: FromStr<Err = Flaw>>(
        &mut self,
        key: impl Into<String>,
        value: Option<impl AsRef<str>>,
    ) -> Option<T> {
        match value?.as_ref().parse() {
            Ok(parsed) => Some(parsed),
            Err(flaw) => {
                self.refuse(key, flaw);
                None
            }
        }
    }
}

/// One `error:` line per problem, each followed by its `hint:` line, as the program prints them.
impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, problem) in self.0.iter().enumerate() {
            let break_before = if nth == 0 { "" } else { "\n" };
            write!(f, "{break_before}error: {problem}\nhint: {}", problem.flaw.hint)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
