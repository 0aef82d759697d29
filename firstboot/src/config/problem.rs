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
pub struct Problems {
    list: Vec<Problem>,
    /// Keys and sections that a problem above leaves without what was meant to be there.
    gaps: Vec<String>,
}

impl Problems {
    /// The problems, first found first.
    #[must_use]
    pub fn list(&self) -> &[Problem] {
        &self.list
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(super) fn of_file(source: &str, message: impl Into<String>, hint: impl Into<String>) -> Self {
        let problem = Problem { source: source.into(), key: String::new(), flaw: Flaw::new(message, hint) };
        Self { list: vec![problem], gaps: Vec::new() }
    }

    pub(super) fn append(&mut self, mut more: Self) {
        self.list.append(&mut more.list);
        self.gaps.append(&mut more.gaps);
    }

    pub(super) fn push(&mut self, problem: Problem) {
        self.list.push(problem);
    }

    pub(super) fn refuse(&mut self, key: impl Into<String>, flaw: Flaw) {
        self.push(Problem { source: String::new(), key: key.into(), flaw });
    }

    /// Notes that what is missing at or below `key` is missing because of a problem already told.
    pub(super) fn leave_gap(&mut self, key: &str) {
        self.gaps.push(key.to_owned());
    }

    /// Whether the absence of `key` follows from a problem already told.
    pub(super) fn explain(&self, key: &str) -> bool {
        let below = |gap: &String| {
            gap.is_empty() || key.strip_prefix(gap).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        self.gaps.iter().any(below)
    }

    /// Tells that `key` is needed, unless that follows from a problem already told.
    pub(super) fn missing(&mut self, key: &str, hint: impl Into<String>) {
        if !self.explain(key) {
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
        for (nth, problem) in self.list.iter().enumerate() {
            let break_before = if nth == 0 { "" } else { "\n" };
            write!(f, "{break_before}error: {problem}\nhint: {}", problem.flaw.hint)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// Path of the key `name` in `section`. Names that are not plain words are bracketed and cut short:
/// a colon without its space makes a key of all of `clientSecret:value`, and the value must not be shown.
pub(super) fn key_in(section: &str, name: &str) -> String {
    let name = name.split(':').next().unwrap_or_default();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if name.len() > 64 || !name.starts_with(|c: char| c.is_ascii_alphabetic()) || !name.chars().all(plain) {
        return format!("{section}[{:?}]", name.chars().take(64).collect::<String>());
    }
    if section.is_empty() { name.to_owned() } else { format!("{section}.{name}") }
}
