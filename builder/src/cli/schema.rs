//! `flexnode-build schema`

use std::process::ExitCode;

use anyhow::Result;
use schemars::schema_for;

use super::print;
use crate::render::Values;
use crate::spec::Spec;

/// Prints the JSON Schema of the spec file, for editors and CI.
#[derive(Debug, clap::Args)]
pub(super) struct SchemaArgs {
    /// Of the template values instead
    #[arg(long)]
    values: bool,
}

pub(super) fn run(args: &SchemaArgs) -> Result<ExitCode> {
    let schema = if args.values { schema_for!(Values) } else { schema_for!(Spec) };
    print(&(serde_json::to_string_pretty(&schema)? + "\n"))?;
    Ok(ExitCode::SUCCESS)
}
