//! systemd's notifications: that the kubelet is ready, and from 1.32 on that it lives.

use sd_notify::NotifyState;
use tokio::time::{MissedTickBehavior, interval};

/// Tells systemd, where a unit asked for it. Whether it arrives changes nothing.
pub(super) fn ready() {
    let _ = sd_notify::notify(&[NotifyState::Ready]);
}

/// Signs of life, twice as often as a unit's `WatchdogSec` wants them, if this minor gives any.
pub(super) async fn live(minor: u64) {
    const SINCE: u64 = 32;
    let Some(wanted) = sd_notify::watchdog_enabled().filter(|_| minor >= SINCE) else {
        return std::future::pending().await;
    };
    let mut ticks = interval(wanted / 2);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let _ = sd_notify::notify(&[NotifyState::Watchdog]);
    }
}
