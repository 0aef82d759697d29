//! `azcmagent config`, as far as the way out goes.

use clap::Subcommand;

use super::place::{self, Place};
use super::trouble::{Code, Outcome, Trouble};

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Set a property
    Set { property: String, value: String },
    /// Show a property
    Get { property: String },
    /// Take a property back
    Clear { property: String },
}

pub(super) fn execute(verb: Verb, place: &Place) -> Outcome<String> {
    place::is_root()?;
    let (Verb::Set { property, .. } | Verb::Get { property } | Verb::Clear { property }) = &verb;
    if property != "proxy.url" {
        return Err(Trouble::new(Code::InvalidOption, format!("the stand-in knows no property {property}")));
    }
    let mut settings = place.settings()?;
    match verb {
        Verb::Set { value, .. } if !value.starts_with("http://") => {
            return Err(Trouble::new(Code::InvalidOption, format!("{value} is no http:// URL")));
        }
        Verb::Set { value, .. } => settings.proxy_url = Some(value),
        Verb::Get { .. } => return Ok(settings.proxy_url.unwrap_or_default()),
        Verb::Clear { .. } => settings.proxy_url = None,
    }
    place.keep_settings(&settings)?;
    Ok("Config property proxy.url updated.".to_owned())
}
