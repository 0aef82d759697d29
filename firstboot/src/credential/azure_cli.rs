//! Azure CLI as operator: how it is run, and what its words mean.

use std::ffi::OsStr;
use std::io;
use std::process::Output;
use std::time::Duration;

use azure_identity::Executor;

use crate::command::Commands;
use crate::failure::{Exit, Failure};
use crate::host::Host;
use crate::http::HttpError;

/// Runs Azure CLI as all programs are run: with a limit, killed with the join, without systemd's channels.
/// azure_identity's own way would wait for as long as it takes, in a thread that nothing ends.
#[derive(Debug)]
pub(super) struct Shell {
    pub(super) commands: Commands,
    pub(super) longest: Duration,
}

impl Shell {
    pub(super) fn of(host: &Host) -> Self {
        Self { commands: host.commands.clone(), longest: host.pace.of(LONGEST).max(SHORTEST) }
    }
}

/// Azure CLI takes seconds to start, and may have to renew its own token.
const LONGEST: Duration = Duration::from_secs(60);
const SHORTEST: Duration = Duration::from_secs(20);

#[async_trait::async_trait]
impl Executor for Shell {
    async fn run(&self, program: &OsStr, arguments: &[&OsStr]) -> io::Result<Output> {
        self.commands.output(program, arguments, self.longest).await
    }
}

/// What its error means: its own words, or a shell's. It asks Entra ID itself, so what a network does to it passes; who has to log in
/// is told so, and where there is no `az`, or an old one, none will come.
pub(super) fn refusal(error: &azure_core::Error) -> HttpError {
    let first: &(dyn std::error::Error + 'static) = error;
    let mut causes = std::iter::successors(Some(first), |cause| cause.source());
    let timed_out = |cause: &io::Error| cause.kind() == io::ErrorKind::TimedOut;
    if causes.any(|cause| cause.downcast_ref().is_some_and(timed_out)) {
        let hint = "run `az account get-access-token` as root to see why";
        return Failure::new(Exit::Transient, "Azure CLI has not answered in time", hint).into();
    }
    const FINAL: [&str; 3] = ["az login", "not found on PATH", "Please use Azure CLI"];
    let words = words(error);
    let exit = if FINAL.iter().any(|part| words.contains(part)) { Exit::Denied } else { Exit::Transient };
    let hint = "`sudo az login`, then `az account get-access-token` as root to see that it works; or configure \
                azure.servicePrincipal";
    Failure::new(exit, words, hint).into()
}

pub(super) fn words(error: &azure_core::Error) -> String {
    error.to_string().split("\nTo troubleshoot").next().unwrap_or_default().to_owned()
}
