//! `himdsd`, the agent's identity service: the same program, called by that name.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::process::ExitCode;

use anyhow::{Context as _, Result, anyhow};

use super::place::Place;
use crate::azure::HimdsDaemon;

/// The program's name.
pub(super) const NAME: &str = "himdsd";

pub(super) fn run(place: &Place) -> ExitCode {
    match serve(place) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn serve(place: &Place) -> Result<()> {
    let there = place.emulator().map_err(|trouble| anyhow!("find the emulator: {trouble}"))?;
    let ca = fs::read_to_string(&there.ca).with_context(|| format!("read `{}`", there.ca.display()))?;
    HimdsDaemon::new(place.state(), &there.authority, &ca)?.serve(tell_systemd)
}

/// `Type=notify`: whoever waits for the unit finds the port open.
fn tell_systemd() -> Result<()> {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET") else { return Ok(()) };
    let us = UnixDatagram::unbound().context("make a socket for systemd")?;
    us.send_to(b"READY=1", socket).context("tell systemd that HIMDS listens")?;
    Ok(())
}
