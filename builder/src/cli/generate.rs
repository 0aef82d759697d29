//! `flexnode-build completions` and `man`: generated from the command line itself, so they cannot be out of date.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::CommandFactory as _;

use super::{Cli, print};
use crate::atomic;

/// Prints a completion script, for example:
///
///   flexnode-build completions bash > /etc/bash_completion.d/flexnode-build
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct CompletionsArgs {
    /// The shell
    shell: clap_complete::Shell,
}

pub(super) fn completions(args: &CompletionsArgs) -> Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "flexnode-build", &mut script);
    print(&String::from_utf8(script).context("reading the generated script")?)?;
    Ok(ExitCode::SUCCESS)
}

/// Writes one man page per verb.
#[derive(Debug, clap::Args)]
pub(super) struct ManArgs {
    /// Where to; created if it is missing
    directory: PathBuf,
}

pub(super) fn man(args: &ManArgs) -> Result<ExitCode> {
    std::fs::create_dir_all(&args.directory).with_context(|| format!("creating {}", args.directory.display()))?;
    let mut program = Cli::command();
    program.build();
    write_page(&program, args)?;
    for verb in program.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        let name = format!("flexnode-build-{}", verb.get_name());
        write_page(&verb.clone().name(name), args)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn write_page(command: &clap::Command, args: &ManArgs) -> Result<()> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut page).context("rendering a man page")?;
    atomic::write(&args.directory.join(format!("{}.1", command.get_name())), &page)
}
