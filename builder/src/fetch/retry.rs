//! When a source is asked again, and after how long: exponential backoff with jitter, and what `Retry-After` says.

use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use reqwest::StatusCode;

/// The waits between the attempts at one source: `retries` of them, doubling from `first` up to `longest`, each with
/// up to as much again at random, so that builders that failed together do not come back together.
#[derive(Debug)]
pub(super) struct Schedule {
    waits: ExponentialBackoff,
    longest: Duration,
}

impl Schedule {
    pub(super) fn new(retries: u32, first: Duration, longest: Duration) -> Self {
        let waits = ExponentialBuilder::new()
            .with_jitter()
            .with_factor(2.0)
            .with_min_delay(first)
            .with_max_delay(longest)
            .with_max_times(retries as usize)
            .build();
        Self { waits, longest }
    }

    /// How long to wait before the next attempt; `None` when there is none left.
    ///
    /// A server may ask for more than the schedule, but for no more than the longest wait: no build hangs for a day
    /// because of one header.
    pub(super) fn next(&mut self, asked: Option<Duration>) -> Option<Duration> {
        let own = self.waits.next()?;
        Some(own.max(asked.unwrap_or_default()).min(self.longest))
    }
}

/// Whether a status passes with time.
pub(super) fn is_passing(status: StatusCode) -> bool {
    status.is_server_error() || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS)
}

/// Reads `Retry-After` (RFC 9110, section 10.2.3): seconds, or a date.
pub(super) fn retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    if let Ok(seconds) = value.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = DateTimeParser::new().parse_timestamp(value.trim());
    date.map(|date| Duration::try_from(date - now).unwrap_or_default()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = "2026-11-22T10:00:00Z".parse().expect("a time");
        assert_eq!(retry_after("120", now), Some(120 * SECOND));
        assert_eq!(retry_after(" Sun, 22 Nov 2026 10:01:30 GMT", now), Some(90 * SECOND));
        assert_eq!(retry_after("Sun, 22 Nov 2026 09:00:00 GMT", now), Some(Duration::ZERO));
        for nonsense in ["", "soon", "-5", "1.5"] {
            assert_eq!(retry_after(nonsense, now), None, "{nonsense}");
        }
    }

    #[test]
    fn waits_grow_are_limited_in_number_and_in_length() {
        let mut schedule = Schedule::new(4, SECOND, 5 * SECOND);
        let waits: Vec<_> = std::iter::from_fn(|| schedule.next(None)).collect();
        assert_eq!(waits.len(), 4);
        for (wait, least) in waits.iter().zip([1, 2, 4, 5]) {
            assert!(*wait >= least * SECOND && *wait <= 5 * SECOND, "{waits:?}");
        }
    }

    #[test]
    fn a_server_may_ask_for_more_but_not_for_ever() {
        let mut schedule = Schedule::new(2, Duration::from_millis(1), 5 * SECOND);
        assert_eq!(schedule.next(Some(3 * SECOND)), Some(3 * SECOND));
        assert_eq!(schedule.next(Some(86_400 * SECOND)), Some(5 * SECOND));
        assert_eq!(schedule.next(None), None);
    }

    #[test]
    fn only_some_statuses_pass() {
        for (status, passes) in [(408, true), (429, true), (500, true), (503, true), (404, false), (403, false)] {
            assert_eq!(is_passing(StatusCode::from_u16(status).expect("a status")), passes, "{status}");
        }
    }
}
