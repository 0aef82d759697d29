//! The program: reads the command line, prints, exits by class.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Parser;
use flexnode_firstboot::cli::{Cli, Command, Run};
use flexnode_firstboot::config::{self, Loaded, Operator, SecretSource};
use flexnode_firstboot::failure::{Exit, Failure};
use flexnode_firstboot::host::Host;
use flexnode_firstboot::journal::{self, Journal};
use flexnode_firstboot::notify::Notifier;
use flexnode_firstboot::progress::Progress;
use flexnode_firstboot::status::Status;
use flexnode_firstboot::{crash, join, paths};
use rustix::process::{DumpableBehavior, Resource, Rlimit, geteuid, set_dumpable_behavior, setrlimit};
use tokio::signal::unix::{SignalKind, signal};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let exit = match cli.command {
        None => run(&cli.run),
        Some(Command::Run(arguments)) => run(&arguments),
        Some(Command::Check { config, config_dir }) => check(&config, config_dir.as_deref()),
        Some(Command::Status { json, root }) => status(&root, json),
        Some(Command::Schema) => print(&format!("{:#}", config::schema())),
    };
    exit.into()
}

fn run(arguments: &Run) -> Exit {
    let ended = leave_no_dump().and_then(|()| host(arguments)).and_then(|host| {
        let path = arguments.config.clone().unwrap_or_else(|| host.path(paths::CONFIG));
        match config::load(&path, arguments.config_dir.as_deref()) {
            Ok(config) => join_until_told_to_end(&host, &config),
            Err(problems) => Ok(refuse(Exit::BadConfig, &problems.to_string())),
        }
    });
    ended.unwrap_or_else(|error| {
        let (exit, hint) = Failure::describe(&error);
        refuse(exit, &format!("error: {error:#}\nhint: {hint}"))
    })
}

/// The join, ended cleanly by SIGTERM and SIGINT: what it runs is killed, the file with a secret is removed.
fn join_until_told_to_end(host: &Host, config: &Loaded) -> Result<Exit> {
    let state = host.path(paths::STATE);
    let journal = Journal::from_environment(&host.path(journal::SOCKET));
    let progress = Progress::new(journal, Notifier::from_environment(), Some(state));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting the runtime")?;
    let ended = runtime.block_on(async {
        let (mut terminated, mut interrupted) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        tokio::select! {
            ended = join::join(host, config, &progress) => ended,
            _ = terminated.recv() => Err(told_to_end("SIGTERM")),
            _ = interrupted.recv() => Err(told_to_end("SIGINT")),
        }
    });
    match ended {
        Ok(_) => Ok(Exit::Joined),
        Err(error) => {
            progress.failed(&error);
            Err(error)
        }
    }
}

fn told_to_end(by: &str) -> anyhow::Error {
    let hint = "run it again: it continues where it was";
    Failure::new(Exit::Transient, format!("ended by {by} before the node had joined"), hint).into()
}

/// A core dump would hold the secret.
fn leave_no_dump() -> Result<()> {
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }).context("turning core dumps off")?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable).context("turning core dumps off")
}

fn host(arguments: &Run) -> Result<Host> {
    if arguments.root == Path::new("/") && !geteuid().is_root() {
        return Err(Failure::new(Exit::Local, "joining takes root", "run it with `sudo`").into());
    }
    let mut host = Host::new(&arguments.root)?;
    host.pace = arguments.retry_scale;
    host.max_start_delay = arguments.max_start_delay;
    host.credentials_directory = std::env::var_os("CREDENTIALS_DIRECTORY").map(Into::into);
    if let Some(endpoint) = &arguments.himds_endpoint {
        host.himds.clone_from(endpoint);
    }
    if let Some(tokens) = &arguments.himds_tokens {
        host.himds_tokens.clone_from(tokens);
    }
    crash::at(arguments.kill_at.unwrap_or_default());
    Ok(host)
}

fn check(config: &Path, config_dir: Option<&Path>) -> Exit {
    if let Err(error) = leave_no_dump() {
        return refuse(Exit::Local, &format!("error: {error:#}\nhint: {}", Failure::describe(&error).1));
    }
    match config::load(config, config_dir) {
        Ok(loaded) => print(&summary(&loaded)),
        Err(problems) => refuse(Exit::BadConfig, &problems.to_string()),
    }
}

fn status(root: &Path, json: bool) -> Exit {
    let status = Host::new(root).and_then(|host| Status::read(&host));
    match status {
        Ok(status) if json => print(&format!("{:#}", status.json())),
        Ok(status) => print(&status.table()),
        Err(error) => {
            refuse(Exit::Local, &format!("error: {error:#}\nhint: read it as root: `sudo flexnode-firstboot status`"))
        }
    }
}

/// The settings that matter most, defaults filled in.
fn summary(Loaded { settings, files, .. }: &Loaded) -> String {
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
