//! The emulator's clock: real, running at another rate, or standing still until a test moves it.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;

/// What time it is in the emulated cloud. Tokens, lags, token buckets and `Date` headers go by it.
#[derive(Debug)]
pub struct Clock {
    start: Duration,
    started: Instant,
    rate: f64,
    moved: Mutex<Duration>,
}

impl Clock {
    /// The machine's own time.
    #[must_use]
    pub fn real() -> Self {
        Self::running(1.0)
    }

    /// Starts at the machine's time and runs `rate` times as fast: at 60, a minute passes in a second.
    #[must_use]
    pub fn running(rate: f64) -> Self {
        // Before 1970 there is no token anyway.
        let start = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { start, started: Instant::now(), rate, moved: Mutex::default() }
    }

    /// The right time, as a machine sees it whose own clock is off by so many seconds the other way.
    #[must_use]
    pub fn off_by(seconds: i64) -> Self {
        let clock = Self::real();
        let by = Duration::from_secs(seconds.unsigned_abs());
        let start = if seconds < 0 { clock.start.saturating_sub(by) } else { clock.start + by };
        Self { start, ..clock }
    }

    /// Starts at the machine's time and stands still; [`Clock::advance`] moves it.
    #[must_use]
    pub fn standing() -> Self {
        Self::running(0.0)
    }

    /// Moves the clock forward, as time or a wrong clock does.
    pub fn advance(&self, by: Duration) {
        *self.moved.lock().unwrap_or_else(PoisonError::into_inner) += by;
    }

    /// Time since 1970.
    #[must_use]
    pub fn now(&self) -> Duration {
        let moved = *self.moved.lock().unwrap_or_else(PoisonError::into_inner);
        self.start + self.started.elapsed().mul_f64(self.rate) + moved
    }
}

/// `2026-11-23T18:00:00Z`.
pub(super) fn rfc3339(time: Duration) -> String {
    timestamp(time).to_string()
}

/// `Mon, 23 Nov 2026 18:00:00 GMT`, as in a `Date` header.
pub(super) fn http_date(time: Duration) -> String {
    timestamp(time).strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// `11/23/2026 6:00:00 PM`, as ARM writes times in messages.
pub(super) fn american(time: Duration) -> String {
    timestamp(time).strftime("%-m/%-d/%Y %-I:%M:%S %p").to_string()
}

fn timestamp(time: Duration) -> Timestamp {
    let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_standing_clock_moves_only_when_it_is_moved() {
        let clock = Clock::standing();
        let before = clock.now();
        assert_eq!(clock.now(), before);
        clock.advance(Duration::from_secs(90));
        assert_eq!(clock.now(), before + Duration::from_secs(90));
    }

    #[test]
    fn times_read_as_azure_writes_them() {
        let time = Duration::from_secs(1_795_456_800);
        assert_eq!(rfc3339(time), "2026-11-23T18:00:00Z");
        assert_eq!(http_date(time), "Mon, 23 Nov 2026 18:00:00 GMT");
        assert_eq!(american(time), "11/23/2026 6:00:00 PM");
    }
}
