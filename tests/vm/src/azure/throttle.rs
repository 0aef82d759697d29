//! ARM's token buckets: one for reads, one for writes, one for deletes, per subscription and principal.

use std::collections::HashMap;
use std::time::Duration;

use axum::http::Method;

/// Size and refill of each kind of bucket.
#[derive(Debug, Clone, Copy)]
pub struct Throttle {
    /// GET.
    pub reads: Bucket,
    /// PUT, POST and PATCH.
    pub writes: Bucket,
    /// DELETE.
    pub deletes: Bucket,
}

/// A token bucket; each request takes one token.
#[derive(Debug, Clone, Copy)]
pub struct Bucket {
    /// Tokens in a full bucket.
    pub capacity: f64,
    /// Tokens that come back each second of the emulator's clock.
    pub per_second: f64,
}

impl Bucket {
    /// A bucket of so many tokens, and so many back each second.
    #[must_use]
    pub fn new(capacity: f64, per_second: f64) -> Self {
        Self { capacity, per_second }
    }
}

impl Throttle {
    /// Azure's own figures for a subscription ("Understand how Azure Resource Manager throttles requests").
    #[must_use]
    pub fn arm() -> Self {
        let write = Bucket::new(200.0, 10.0);
        Self { reads: Bucket::new(250.0, 25.0), writes: write, deletes: write }
    }

    /// More than any test asks for.
    #[must_use]
    pub fn none() -> Self {
        let endless = Bucket::new(1e9, 1e9);
        Self { reads: endless, writes: endless, deletes: endless }
    }
}

/// The kinds of request that have a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Reads,
    Writes,
    Deletes,
}

impl Kind {
    pub(super) fn of(method: &Method) -> Self {
        match *method {
            Method::GET | Method::HEAD => Self::Reads,
            Method::DELETE => Self::Deletes,
            _ => Self::Writes,
        }
    }

    /// As in `x-ms-ratelimit-remaining-subscription-…`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Reads => "reads",
            Self::Writes => "writes",
            Self::Deletes => "deletes",
        }
    }
}

/// All buckets that were ever taken from.
#[derive(Debug)]
pub(super) struct Buckets {
    throttle: Throttle,
    levels: HashMap<(String, Kind), Level>,
}

#[derive(Debug, Clone, Copy)]
struct Level {
    tokens: f64,
    at: Duration,
}

impl Buckets {
    pub(super) fn new(throttle: Throttle) -> Self {
        Self { throttle, levels: HashMap::new() }
    }

    /// Takes a token of `owner`.
    ///
    /// # Returns
    /// What is left, or after how many seconds there will be one.
    pub(super) fn take(&mut self, owner: &str, kind: Kind, now: Duration) -> Result<u64, u64> {
        let bucket = match kind {
            Kind::Reads => self.throttle.reads,
            Kind::Writes => self.throttle.writes,
            Kind::Deletes => self.throttle.deletes,
        };
        let full = Level { tokens: bucket.capacity, at: now };
        let level = self.levels.entry((owner.to_owned(), kind)).or_insert(full);
        let passed = now.saturating_sub(level.at).as_secs_f64();
        level.tokens = (level.tokens + passed * bucket.per_second).min(bucket.capacity);
        level.at = now;
        if level.tokens >= 1.0 {
            level.tokens -= 1.0;
            Ok(whole(level.tokens))
        } else {
            Err(whole(((1.0 - level.tokens) / bucket.per_second).ceil()).max(1))
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float's cast saturates, and no less is meant"
)]
fn whole(number: f64) -> u64 {
    number as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_empties_refills_and_never_overflows() {
        let throttle = Throttle { reads: Bucket::new(2.0, 0.5), ..Throttle::none() };
        let mut buckets = Buckets::new(throttle);
        let mut take = |seconds| buckets.take("someone", Kind::Reads, Duration::from_secs(seconds));
        assert_eq!([take(0), take(0), take(0)], [Ok(1), Ok(0), Err(2)]);
        assert_eq!([take(2), take(2)], [Ok(0), Err(2)], "half a token each second");
        assert_eq!([take(1000), take(1000), take(1000)], [Ok(1), Ok(0), Err(2)]);
        assert_eq!(buckets.take("another", Kind::Reads, Duration::ZERO), Ok(1), "to each their own");
        assert!(buckets.take("someone", Kind::Writes, Duration::ZERO).is_ok());
    }
}
