//! The one retry: exponential pauses with full jitter, `Retry-After` honoured, a deadline, a predicate.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::time::Duration;

use tokio::time::{Instant, sleep};

/// What an error is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Another try, no sooner than the server asked.
    Again(Option<Duration>),
    /// No other try: nothing will change by waiting.
    Final,
}

/// How long to go on and how fast.
#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    /// Upper bound of the first pause; it doubles with each.
    pub first: Duration,
    /// Upper bound of every pause.
    pub longest: Duration,
    /// No pause ends later than this after the start.
    pub deadline: Duration,
}

impl Schedule {
    /// 1 s, doubling up to 30 s, until `deadline`: with full jitter about 15 s between late attempts, so that a fleet
    /// of a thousand asks some 70 times a second at worst.
    #[must_use]
    pub const fn until(deadline: Duration) -> Self {
        Self { first: Duration::from_secs(1), longest: Duration::from_secs(30), deadline }
    }
}

/// Multiplies every pause and deadline: 1 on a node, less in a lab.
#[derive(Debug, Clone, Copy)]
pub struct Pace(f64);

impl Default for Pace {
    fn default() -> Self {
        Self(1.0)
    }
}

impl Pace {
    /// A pace; `None` unless `scale` is positive and at most 1000.
    #[must_use]
    pub fn new(scale: f64) -> Option<Self> {
        (scale > 0.0 && scale <= 1000.0).then_some(Self(scale))
    }

    /// A duration at this pace.
    #[must_use]
    pub fn of(self, duration: Duration) -> Duration {
        duration.mul_f64(self.0)
    }
}

/// One pause, told before it begins.
#[derive(Debug)]
pub struct Pause<'a, E> {
    /// How many attempts have failed.
    pub attempt: u32,
    /// Why the last one did.
    pub error: &'a E,
    /// How long it will be.
    pub length: Duration,
}

/// A server that asks for time has many callers, and tells all of them the same: they come back spread over this much
/// at least. Azure says "1 second" to a thousand machines although it serves ten of them in that second.
const CROWD: Duration = Duration::from_secs(10);

/// Tries until it works, until an error is final, or until the next pause would end after the deadline.
///
/// Full jitter (uniform from zero to the bound) spreads a fleet best; a pause that the server asked for is kept
/// whole, with the jitter on top, and no less than ten seconds of it: see `CROWD`.
///
/// # Errors
/// The last attempt's.
pub async fn retry<T, E>(
    schedule: Schedule,
    pace: Pace,
    mut attempt: impl AsyncFnMut() -> Result<T, E>,
    judge: impl Fn(&E) -> Verdict,
    mut before: impl FnMut(Pause<'_, E>),
) -> Result<T, E> {
    let end = Instant::now() + pace.of(schedule.deadline);
    let mut bound = schedule.first;
    for failed in 1.. {
        let error = match attempt().await {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        let Verdict::Again(asked) = judge(&error) else { return Err(error) };
        if asked.is_some() {
            bound = bound.max(schedule.longest.min(CROWD));
        }
        let length = pace.of(asked.unwrap_or_default() + bound.mul_f64(random()));
        if Instant::now() + length > end {
            return Err(error);
        }
        before(Pause { attempt: failed, error: &error, length });
        sleep(length).await;
        bound = schedule.longest.min(bound * 2);
    }
    unreachable!("the range has no end")
}

/// Uniform from 0 to 1. The standard library seeds each of these hashers from the kernel; nothing here is a secret.
#[must_use]
pub fn random() -> f64 {
    let bits = RandomState::new().hash_one(0_u8);
    #[expect(clippy::cast_precision_loss, reason = "the jitter of a pause needs no 64 bits")]
    let fraction = bits as f64 / u64::MAX as f64;
    fraction
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    async fn run(schedule: Schedule, asked: Option<Duration>) -> (u32, Vec<Duration>, Duration) {
        let start = Instant::now();
        let (mut attempts, mut pauses) = (0, Vec::new());
        let attempt = async || {
            attempts += 1;
            Err::<(), _>("busy")
        };
        let ended =
            retry(schedule, Pace::default(), attempt, |_| Verdict::Again(asked), |p| pauses.push(p.length)).await;
        assert_eq!(ended, Err("busy"));
        (attempts, pauses, start.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_stay_below_their_bounds_and_the_last_one_ends_before_the_deadline() {
        let schedule = Schedule::until(600 * SECOND);
        let (attempts, pauses, total) = run(schedule, None).await;
        let bounds = (0..).map(|nth| SECOND * 2_u32.pow(nth.min(5))).map(|bound| bound.min(30 * SECOND));
        assert!(pauses.iter().zip(bounds).all(|(pause, bound)| *pause <= bound), "{pauses:?}");
        assert!(attempts as usize == pauses.len() + 1 && attempts > 20, "{attempts}");
        // The clock has a resolution of a millisecond.
        assert!(total >= pauses.iter().sum::<Duration>() && total <= 601 * SECOND, "{total:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn no_two_runs_pause_alike() {
        let schedule = Schedule::until(60 * SECOND);
        assert_ne!(run(schedule, None).await.1, run(schedule, None).await.1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_asks_for_time_gets_it() {
        let (_, pauses, _) = run(Schedule::until(100 * SECOND), Some(20 * SECOND)).await;
        assert!(pauses.iter().all(|pause| *pause >= 20 * SECOND), "{pauses:?}");
        // More than there is: give up at once rather than come back early.
        let (attempts, _, total) = run(Schedule::until(100 * SECOND), Some(101 * SECOND)).await;
        assert_eq!((attempts, total), (1, Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn a_crowd_that_is_told_the_same_second_does_not_come_back_in_it() {
        let mut first = Vec::new();
        for _ in 0..40 {
            first.push(run(Schedule::until(12 * SECOND), Some(SECOND)).await.1[0]);
        }
        let (least, most) = (first.iter().min().unwrap(), first.iter().max().unwrap());
        assert!(*least >= SECOND && *most <= 11 * SECOND && *most - *least > 5 * SECOND, "{first:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_final_error_is_not_tried_again() {
        let mut attempts = 0;
        let attempt = async || {
            attempts += 1;
            Err::<(), _>("denied")
        };
        let schedule = Schedule::until(SECOND);
        let ended = retry(schedule, Pace::default(), attempt, |_| Verdict::Final, |_| panic!("it paused")).await;
        assert_eq!((ended, attempts), (Err("denied"), 1));
    }

    #[tokio::test(start_paused = true)]
    async fn the_pace_scales_pauses_and_the_deadline() {
        let start = Instant::now();
        let pace = Pace::new(0.01).unwrap();
        let judge = |_: &&str| Verdict::Again(None);
        let _ = retry(Schedule::until(600 * SECOND), pace, async || Err::<(), _>("busy"), judge, |_| {}).await;
        assert!(start.elapsed() <= 7 * SECOND);
        assert!(Pace::new(0.0).is_none() && Pace::new(f64::NAN).is_none());
    }
}
