//! Faults, and which requests they befall.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::operation::{Operation, Service};
use super::role;

/// One way to misbehave, for one request.
#[derive(Debug, Clone)]
pub enum Fault {
    /// Another answer; the request is not applied.
    Answer {
        /// The status.
        status: u16,
        /// Further headers.
        headers: Vec<(String, String)>,
        /// The body.
        body: String,
    },
    /// 429 with `Retry-After` in seconds; not applied.
    Throttled {
        /// The header's value.
        retry_after: u64,
    },
    /// A 5xx (or any other status) in the service's own error shape; not applied.
    Status(u16),
    /// A TCP reset instead of an answer; not applied.
    Reset,
    /// Silence instead of an answer, until the client goes; not applied.
    Hang,
    /// Applied, and then a TCP reset instead of the answer.
    LoseAnswer,
    /// Applied twice, as a proxy that repeats a request does; the second answer is sent.
    Twice,
    /// A TCP reset after so many bytes of the body; applied.
    ResetBody {
        /// Bytes that come.
        after: usize,
    },
    /// Silence after so many bytes of the body; applied.
    StallBody {
        /// Bytes that come.
        after: usize,
    },
    /// An orderly end before the announced end of the body; applied.
    Truncate {
        /// Bytes that come.
        after: usize,
    },
    /// A little of the body at a time; applied.
    Slow {
        /// Bytes at a time.
        chunk: usize,
        /// Real time between them.
        pause: Duration,
    },
    /// The service's clock is off by so many seconds: in the `Date` header, and in every time that it writes or checks.
    Skew(i64),
}

/// Which requests, and the how-manieth of them.
#[derive(Debug, Clone)]
pub struct When {
    subject: Subject,
    first: u32,
    count: Option<u32>,
}

#[derive(Debug, Clone)]
enum Subject {
    Operation(Operation),
    Service(Service),
    Path { service: Service, method: Option<String>, pattern: String },
}

impl When {
    /// Every request for this operation.
    #[must_use]
    pub fn operation(operation: Operation) -> Self {
        Self { subject: Subject::Operation(operation), first: 1, count: None }
    }

    /// Every request to this service.
    #[must_use]
    pub fn service(service: Service) -> Self {
        Self { subject: Subject::Service(service), first: 1, count: None }
    }

    /// Every request whose path fits a pattern, in which `*` stands for anything; in any case.
    #[must_use]
    pub fn path(service: Service, pattern: &str) -> Self {
        Self { subject: Subject::Path { service, method: None, pattern: pattern.to_owned() }, first: 1, count: None }
    }

    /// Only requests with this method, where a pattern chose the path.
    #[must_use]
    pub fn method(mut self, name: &str) -> Self {
        if let Subject::Path { method, .. } = &mut self.subject {
            *method = Some(name.to_owned());
        }
        self
    }

    /// Only the `nth` of them, counted from 1.
    #[must_use]
    pub fn nth(mut self, nth: u32) -> Self {
        (self.first, self.count) = (nth, Some(1));
        self
    }

    /// Only the first so many.
    #[must_use]
    pub fn first(mut self, count: u32) -> Self {
        (self.first, self.count) = (1, Some(count));
        self
    }

    /// All from the `nth` on.
    #[must_use]
    pub fn from(mut self, nth: u32) -> Self {
        (self.first, self.count) = (nth, None);
        self
    }

    fn is_about(&self, service: Service, operation: Operation, method: &str, path: &str) -> bool {
        match &self.subject {
            Subject::Operation(wanted) => *wanted == operation,
            Subject::Service(wanted) => *wanted == service,
            Subject::Path { service: wanted, method: wanted_method, pattern } => {
                *wanted == service
                    && wanted_method.as_ref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(method))
                    && role::matches(pattern, path)
            }
        }
    }

    fn holds(&self, nth: u32) -> bool {
        nth >= self.first && self.count.is_none_or(|count| nth - self.first < count)
    }
}

/// All faults that are planned.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    rules: Mutex<Vec<Rule>>,
}

#[derive(Debug)]
struct Rule {
    when: When,
    fault: Fault,
    seen: u32,
}

impl Schedule {
    pub(super) fn add(&self, when: When, fault: Fault) {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner).push(Rule { when, fault, seen: 0 });
    }

    pub(super) fn clear(&self) {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The fault of this request. Every rule counts it; the first one that holds has its way.
    pub(super) fn next(&self, service: Service, operation: Operation, method: &str, path: &str) -> Option<Fault> {
        let mut rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        let mut chosen = None;
        for rule in rules.iter_mut().filter(|rule| rule.when.is_about(service, operation, method, path)) {
            rule.seen += 1;
            if chosen.is_none() && rule.when.holds(rule.seen) {
                chosen = Some(rule.fault.clone());
            }
        }
        chosen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hits(when: When, requests: usize) -> Vec<usize> {
        let schedule = Schedule::default();
        schedule.add(when, Fault::Reset);
        let hit = |_: &usize| schedule.next(Service::Arm, Operation::ClusterRead, "GET", "/a/Edge").is_some();
        (1..=requests).filter(hit).collect()
    }

    #[test]
    fn a_rule_counts_the_requests_it_is_about() {
        let when = || When::operation(Operation::ClusterRead);
        assert_eq!(hits(when(), 3), [1, 2, 3]);
        assert_eq!(hits(when().nth(2), 4), [2]);
        assert_eq!(hits(when().first(2), 4), [1, 2]);
        assert_eq!(hits(when().from(3), 4), [3, 4]);
        assert_eq!(hits(When::operation(Operation::Token), 3), [0_usize; 0]);
        assert_eq!(hits(When::service(Service::Arm).nth(1), 3), [1]);
        assert_eq!(hits(When::path(Service::Arm, "/a/*dge").method("get").nth(1), 2), [1]);
        assert_eq!(hits(When::path(Service::Arm, "/a/*dge").method("PUT"), 2), [0_usize; 0]);
    }

    #[test]
    fn two_rules_take_turns() {
        let schedule = Schedule::default();
        schedule.add(When::service(Service::Arm).nth(1), Fault::Status(500));
        schedule.add(When::service(Service::Arm).nth(2), Fault::Status(503));
        let next = || schedule.next(Service::Arm, Operation::Other, "GET", "/");
        assert!(matches!(next(), Some(Fault::Status(500))));
        assert!(matches!(next(), Some(Fault::Status(503))));
        assert!(next().is_none());
    }
}
