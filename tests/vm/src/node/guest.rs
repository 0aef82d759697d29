//! A booted machine, in whichever lane.

use std::process::Output;
use std::time::Instant;

use anyhow::{Result, ensure};

use super::nspawn::Container;
use super::qemu::Machine;

/// What boots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lane {
    /// A container of systemd-nspawn: seconds, and this machine's kernel.
    Container,
    /// A virtual machine of QEMU: a kernel of its own.
    Vm,
}

/// A booted machine. Dropping it is a power cut.
#[derive(Debug)]
pub struct Guest {
    kind: Kind,
}

#[derive(Debug)]
pub(super) enum Kind {
    Container(Container),
    Vm(Machine),
}

impl Guest {
    pub(super) fn new(kind: Kind) -> Self {
        Self { kind }
    }

    /// When it was switched on.
    #[must_use]
    pub fn powered_on(&self) -> Instant {
        match &self.kind {
            Kind::Container(container) => container.powered_on,
            Kind::Vm(machine) => machine.powered_on,
        }
    }

    /// Which lane it runs in.
    #[must_use]
    pub fn lane(&self) -> Lane {
        match self.kind {
            Kind::Container(_) => Lane::Container,
            Kind::Vm(_) => Lane::Vm,
        }
    }

    /// Runs a program inside.
    ///
    /// # Errors
    /// When it cannot be started; how it ends is in the answer.
    pub fn run(&self, program: &str, arguments: &[&str]) -> Result<Output> {
        match &self.kind {
            Kind::Container(container) => container.run(program, arguments),
            Kind::Vm(machine) => machine.run(program, arguments),
        }
    }

    /// Standard output of a program that must succeed.
    ///
    /// # Errors
    /// When it fails, with all that it said.
    pub fn ask(&self, program: &str, arguments: &[&str]) -> Result<String> {
        let output = self.run(program, arguments)?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
        ensure!(output.status.success(), "{program} {}: {said}", arguments.join(" "));
        Ok(text(&output.stdout))
    }

    /// Shuts it down in order.
    ///
    /// # Errors
    /// When it does not end well.
    pub fn power_off(self) -> Result<()> {
        match self.kind {
            Kind::Container(container) => container.power_off(),
            Kind::Vm(machine) => machine.power_off(),
        }
    }
}
