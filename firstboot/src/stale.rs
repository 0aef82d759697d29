//! Denials that come from a token of before: HIMDS keeps tokens, and a role that was granted after one was made stays
//! invisible to it until himdsd restarts (Azure/AKSFlexNode#294, #299).

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::config::Secret;
use crate::http::HttpError;
use crate::join::Join;
use crate::state::Step;

/// So many denials of one and the same token, and it is taken for stale.
const STALE: u32 = 4;

/// What speaks against the machine's token.
#[derive(Debug, Default)]
pub(crate) struct Suspicion {
    denied: Option<Secret>,
    denials: u32,
}

impl Suspicion {
    /// The machine's token for `audience` was denied. The next attempt gets another one, if HIMDS gives one; if it keeps
    /// giving the same, himdsd is restarted.
    ///
    /// # Errors
    /// When HIMDS gives none.
    pub(crate) async fn denied(&mut self, join: &Join<'_>, audience: &str) -> Result<(), HttpError> {
        let token = join.himds.token(audience).await?;
        let same = self.denied.as_ref().is_some_and(|denied| denied.expose() == token.expose());
        self.denials = if same { self.denials + 1 } else { 1 };
        self.denied = Some(token);
        join.himds.forget();
        if self.denials >= STALE {
            restart_himdsd(join).await;
        }
        Ok(())
    }
}

/// Restarts himdsd, unless this run has done so; whether it has now.
pub(crate) async fn restart_himdsd(join: &Join<'_>) -> bool {
    if join.himdsd_restarted.swap(true, Ordering::Relaxed) {
        return false;
    }
    join.progress.note(Step::Kubeconfig, "HIMDS may keep a token from before the role was granted; restarting himdsd");
    let said = join.host.commands.run("systemctl", &["restart", "himdsd.service"], Duration::from_secs(90)).await;
    // Without the restart, waiting is what is left.
    match said {
        Ok(said) if !said.success => join.progress.warn(&format!("himdsd does not restart: {}", said.summary())),
        Err(error) => join.progress.warn(&format!("himdsd does not restart: {error:#}")),
        Ok(_) => {}
    }
    join.himds.forget();
    true
}
