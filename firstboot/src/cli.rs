//! The command line: what may be asked, and the exit codes that answer.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::retry::Pace;

/// Joins a prepared node to an AKS cluster at its first boot.
///
/// Registers the machine with Azure Arc, gives its identity the roles it needs, fetches the kubeconfig, starts
/// containerd and the kubelet, and waits until the Node is ready. Each step looks at the world first: a run after a
/// power cut continues, a run on a healthy node changes nothing.
///
/// The node is described by a config file, YAML or JSON; what it may hold is in docs/node-config.md and in the output
/// of `schema`. Files in config.d/ beside it are laid over it in the order of their names, so that cloud-init can add
/// one machine's values to a golden image.
#[derive(Debug, Parser)]
#[command(
    version,
    max_term_width = 80,
    args_conflicts_with_subcommands = true,
    after_long_help = EXIT_CODES,
    after_help = "See --help for the exit codes."
)]
pub struct Cli {
    /// What to do instead of joining.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// How to join.
    #[command(flatten)]
    pub run: Run,
}

/// What can be asked for.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Joins the cluster; also what happens without a command.
    Run(Run),
    /// Says whether a config holds, and lists all its problems if it does not.
    ///
    /// Reads the config and its drop-ins and nothing else: no network, no change to the machine. Each problem is an
    /// `error:` line with the key and a `hint:` line with the cure.
    #[command(after_help = CHECK_EXAMPLES)]
    Check {
        /// The config file.
        #[arg(long, value_name = "FILE", default_value = crate::paths::CONFIG)]
        config: PathBuf,
        /// The drop-ins; by default config.d/ beside the config file, if it exists.
        #[arg(long, value_name = "DIR")]
        config_dir: Option<PathBuf>,
    },
    /// Shows how far the join is: each step, since when, what failed last.
    ///
    /// Reads two files and asks nobody. Exits 0 whether the node has joined or not.
    Status {
        /// Prints JSON instead of a table.
        #[arg(long)]
        json: bool,
        /// The root of the node's files, for labs.
        #[arg(long, value_name = "DIR", default_value = "/", hide = true)]
        root: PathBuf,
    },
    /// Prints the JSON Schema of the config, for editors and pipelines.
    Schema,
}

/// How to join.
#[derive(Debug, Args)]
pub struct Run {
    /// The config file [default: /etc/flexnode/config.yaml].
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The drop-ins; by default config.d/ beside the config file, if it exists.
    #[arg(long, value_name = "DIR")]
    pub config_dir: Option<PathBuf>,
    /// Delays a first join by a random part of this: 30s, 5m.
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = duration)]
    pub max_start_delay: Duration,
    /// The root of the node's files, for labs.
    #[arg(long, value_name = "DIR", default_value = "/", hide = true)]
    pub root: PathBuf,
    /// The Arc agent's identity endpoint, for labs.
    #[arg(long, value_name = "URL", hide = true)]
    pub himds_endpoint: Option<String>,
    /// The directory its challenges may name, for labs.
    #[arg(long, value_name = "DIR", hide = true)]
    pub himds_tokens: Option<PathBuf>,
    /// Multiplies every pause and deadline, for labs.
    #[arg(long, value_name = "FLOAT", default_value = "1", value_parser = pace, hide = true)]
    pub retry_scale: Pace,
    /// Ends the process as `kill -9` would, at the nth point of the join, for labs.
    #[arg(long, value_name = "N", hide = true)]
    pub kill_at: Option<u64>,
}

const CHECK_EXAMPLES: &str = "\
Examples:
  Before an image is built, on any machine:
    flexnode-firstboot check --config node.yaml
  On the node, as it would be read at boot:
    sudo flexnode-firstboot check";

const EXIT_CODES: &str = "\
Exit codes:
   0  done: the node has joined, the config holds
   1  this machine cannot do it; see the hint
   2  the command line is wrong
  75  something passing is in the way; try again (systemd does)
  77  Azure or the cluster denied it; grant what the hint says
  78  the config is wrong; correct what the hints say";

/// A number and a unit: `90s`, `5m`.
fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let factor = match unit {
        "s" => 1,
        "m" => 60,
        _ => return Err("write a number and a unit: 90s or 5m".to_owned()),
    };
    let seconds = number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
    seconds.filter(|seconds| *seconds <= 3600).map(Duration::from_secs).ok_or_else(|| "write at most 60m".to_owned())
}

fn pace(text: &str) -> Result<Pace, String> {
    text.parse().ok().and_then(Pace::new).ok_or_else(|| "write a positive number".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_a_unit() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
        for odd in ["", "90", "5h", "-1s", "61m", "99999999999999999999s"] {
            assert!(duration(odd).is_err(), "{odd}");
        }
    }
}
