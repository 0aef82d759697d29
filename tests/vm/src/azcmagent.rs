//! A stand-in for `azcmagent`, the Azure Connected Machine agent: connects a machine to the emulated Azure.
//!
//! It is this very program, called by that name. It keeps its state below `$AZCMAGENT_STATE` (`/var/opt/azcmagent`
//! otherwise) and finds the emulator by `emulator.json` there, or `/etc/flexnode-lab/azcmagent.json`. Its messages carry
//! the real one's codes, and its exit status is the code's number.

mod cloud;
mod config;
mod connect;
mod himdsd;
mod options;
mod package;
mod place;
mod trouble;

use std::ffi::{OsStr, OsString};
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use serde_json::json;

use self::options::Options;
use self::trouble::Outcome;
use crate::azure::AgentConfig;

pub use self::package::{HIMDSD_DAEMON, HIMDSD_PATH, package};
pub use self::place::{Place, Whereabouts};

/// The program's name.
pub const NAME: &str = "azcmagent";

/// Stand-in of the Flexnode lab for the Azure Connected Machine agent
#[derive(Debug, Parser)]
#[command(name = NAME, disable_version_flag = true)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Connect this machine to Azure Arc
    Connect(Box<Options>),
    /// Disconnect this machine
    Disconnect {
        #[command(flatten)]
        options: Box<Options>,
        /// Forget the connection and leave the resource in Azure
        #[arg(long)]
        force_local_only: bool,
    },
    /// Say whether and as what this machine is connected
    Show {
        /// As JSON
        #[arg(short, long)]
        json: bool,
    },
    /// Say whether Azure can be reached
    Check {
        /// The region
        #[arg(short, long)]
        location: Option<String>,
        /// The cloud
        #[arg(long)]
        cloud: Option<String>,
    },
    /// Change what the agent keeps to
    Config {
        #[command(subcommand)]
        verb: config::Verb,
    },
    /// Tell the version
    Version,
}

/// Whether a program called like this is the stand-in, or its identity service.
#[must_use]
pub fn called(argv0: &OsStr) -> bool {
    Path::new(argv0).file_name().is_some_and(|name| name == NAME || name == himdsd::NAME)
}

/// Runs it by the name it was called, with the arguments that follow.
#[must_use]
pub fn run(argv0: &OsStr, arguments: impl Iterator<Item = OsString>) -> ExitCode {
    if Path::new(argv0).ends_with(himdsd::NAME) {
        return himdsd::run(&Place::of_this_machine());
    }
    let cli = match Cli::try_parse_from(std::iter::once(NAME.into()).chain(arguments)) {
        Ok(cli) => cli,
        Err(error) => {
            // Where nobody reads the help there is nobody to tell.
            let _ = error.print();
            return ExitCode::from(u8::from(error.use_stderr()));
        }
    };
    match execute(cli.verb, &Place::of_this_machine()) {
        Ok(text) => {
            // The answer goes to whoever reads it; a closed pipe is no failure of the agent.
            let _ = writeln!(io::stdout(), "{text}");
            ExitCode::SUCCESS
        }
        Err(trouble) => {
            eprintln!("{trouble}");
            trouble.exit()
        }
    }
}

fn execute(verb: Verb, place: &Place) -> Outcome<String> {
    match verb {
        Verb::Connect(options) => connect::connect(place, *options),
        Verb::Disconnect { options, force_local_only } => connect::disconnect(place, *options, force_local_only),
        Verb::Show { json } => Ok(show(place.config()?.as_ref(), json)),
        Verb::Check { location: _, cloud: _ } => connect::check(place),
        Verb::Config { verb } => config::execute(verb, place),
        Verb::Version => Ok(format!("azcmagent version {} (stand-in)", crate::standin::version())),
    }
}

/// The keys are a selection of the real ones.
fn show(config: Option<&AgentConfig>, as_json: bool) -> String {
    let text = |value: fn(&AgentConfig) -> &String| config.map(value).cloned().unwrap_or_default();
    let status = if config.is_some() { "Connected" } else { "Disconnected" };
    let shown = json!({
        "agentVersion": crate::standin::version(),
        "resourceName": text(|config| &config.resource_name),
        "resourceGroup": text(|config| &config.resource_group),
        "resourceNamespace": "Microsoft.HybridCompute",
        "resourceType": "machines",
        "subscriptionId": text(|config| &config.subscription_id),
        "tenantId": text(|config| &config.tenant_id),
        "vmId": text(|config| &config.vm_id),
        "correlationId": text(|config| &config.correlation_id),
        "location": text(|config| &config.location),
        "cloud": text(|config| &config.cloud),
        "status": status,
        "errorCode": "",
        "errorDetails": "",
    });
    if as_json {
        return format!("{shown:#}");
    }
    let lines = shown.as_object().into_iter().flatten();
    lines
        .map(|(key, value)| format!("{key:<18}: {}", value.as_str().unwrap_or_default()))
        .collect::<Vec<_>>()
        .join("\n")
}
