//! The command line: what may be asked, and the exit codes that answer.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Joins a prepared node to an AKS cluster at its first boot.
///
/// The node is described by a config file, YAML or JSON; what it may hold is in docs/node-config.md and in the output
/// of `schema`. Files in config.d/ beside it are laid over it in the order of their names, so that cloud-init can add
/// one machine's values to a golden image.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 80, after_long_help = EXIT_CODES, after_help = "See --help for the exit codes.")]
pub struct Cli {
    /// What to do instead of joining.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What can be asked for besides the join.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Says whether a config holds, and lists all its problems if it does not.
    ///
    /// Reads the config and its drop-ins and nothing else: no network, no change to the machine. Each problem is an
    /// `error:` line with the key and a `hint:` line with the cure.
    #[command(after_help = CHECK_EXAMPLES)]
    Check {
        /// The config file.
        #[arg(long, value_name = "FILE", default_value = "/etc/flexnode/config.yaml")]
        config: PathBuf,
        /// The drop-ins; by default config.d/ beside the config file, if it exists.
        #[arg(long, value_name = "DIR")]
        config_dir: Option<PathBuf>,
    },
    /// Prints the JSON Schema of the config, for editors and pipelines.
    Schema,
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
   1  this machine or this build cannot do it; see the hint
   2  the command line is wrong
  75  something passing is in the way; try again (systemd does)
  77  Azure or the cluster denied it; grant what the hint says
  78  the config is wrong; correct what the hints say";

/// How a run ends. The values above 2 are those of sysexits.h; the unit names each code but 75 as
/// not worth a restart, so a new one belongs into its `RestartPreventExitStatus=` too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Joined = 0,
    /// This machine or this build cannot do what was asked.
    Local = 1,
    /// Worth another try.
    Transient = 75,
    /// Denied by Azure or the cluster.
    Denied = 77,
    /// The config is wrong.
    BadConfig = 78,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
