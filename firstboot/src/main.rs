//! The program: reads the command line, prints, exits by class.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use flexnode_firstboot::cli::{Cli, Command, Exit};
use flexnode_firstboot::config::{self, Loaded, Operator, SecretSource};

fn main() -> ExitCode {
    match Cli::parse().command {
        Some(Command::Check { config, config_dir }) => check(&config, config_dir.as_deref()),
        Some(Command::Schema) => print(&format!("{:#}", config::schema())),
        None => refuse(Exit::Local, NO_JOIN),
    }
    .into()
}

const NO_JOIN: &str = "error: this build has no join sequence yet; nothing was changed on this machine
hint: `flexnode-firstboot check` proves a config; joining comes with a later version";

fn check(config: &Path, config_dir: Option<&Path>) -> Exit {
    match config::load(config, config_dir) {
        Ok(loaded) => print(&summary(&loaded)),
        Err(problems) => refuse(Exit::BadConfig, &problems.to_string()),
    }
}

/// The settings that matter most, defaults filled in.
fn summary(Loaded { settings, files }: &Loaded) -> String {
    let read = files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ");
    let operator = match &settings.operator {
        Operator::AzureCli => "the account logged in to Azure CLI".to_owned(),
        Operator::ServicePrincipal(principal) => {
            let secret = match &principal.secret {
                SecretSource::Inline(_) => "in the config".to_owned(),
                SecretSource::File { path, .. } => format!("in {}", path.display()),
                SecretSource::Credential(name) => format!("in systemd credential {name}"),
            };
            format!("service principal {}, secret {secret}", principal.client_id)
        }
    };
    let name = settings.node.name.as_ref().map_or_else(|| "the host name".to_owned(), ToString::to_string);
    [
        ("config holds", read),
        ("cluster", settings.cluster.to_string()),
        ("cloud", format!("{}, {}", settings.cloud.facts().name, settings.resource_manager)),
        ("tenant", settings.tenant.to_string()),
        ("registered by", operator),
        ("node name", name),
    ]
    .map(|(what, value)| format!("{what:<14}{value}"))
    .join("\n")
}

fn print(text: &str) -> Exit {
    match writeln!(io::stdout(), "{text}") {
        Ok(()) => Exit::Joined,
        Err(error) => {
            refuse(Exit::Local, &format!("error: write to standard output: {error}\nhint: see where it goes"))
        }
    }
}

fn refuse(exit: Exit, lines: &str) -> Exit {
    eprintln!("{lines}");
    exit
}
