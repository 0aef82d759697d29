//! Stand-ins: what the lab installs where no registry has the real kubelet, kubeadm or crictl.
//!
//! A stand-in is this very program, called by another name. It tells its version the way the real one does and
//! refuses everything else, so that nobody takes it for the real one; the kubelet's also joins its cluster and runs static
//! pods, and crictl's lists what runs. It never ships.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result};

use crate::{crictl, kubelet};

/// A program that has a stand-in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StandIn {
    /// The node agent.
    Kubelet,
    /// The cluster bootstrapper.
    Kubeadm,
    /// The CRI command line.
    Crictl,
}

impl StandIn {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Kubelet, Self::Kubeadm, Self::Crictl];

    /// The one that a program called like this (`argv[0]`, with or without folders) is.
    #[must_use]
    pub fn called(argv0: &OsStr) -> Option<Self> {
        let name = Path::new(argv0).file_name()?;
        Self::ALL.into_iter().find(|stand_in| name == stand_in.name())
    }

    /// The name of the program it stands in for.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Kubelet => "kubelet",
            Self::Kubeadm => "kubeadm",
            Self::Crictl => "crictl",
        }
    }

    /// Answers as far as a stand-in can; everything else is refused with status 1.
    #[must_use]
    pub fn run(self, arguments: impl Iterator<Item = OsString>) -> ExitCode {
        let name = self.name();
        let arguments: Vec<_> = arguments.map(|argument| argument.to_string_lossy().into_owned()).collect();
        // A kubelet without a kubeconfig is one without a cluster, which nobody here asks for.
        if self == Self::Kubelet && arguments.iter().any(|argument| argument.starts_with("--kubeconfig")) {
            return kubelet::run(&arguments);
        }
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        let listed = if self == Self::Crictl { crictl::answer(&arguments) } else { None };
        match listed.map_or_else(|| Ok(self.answer(&arguments, &version())), |listed| listed.map(Some)) {
            Ok(Some(answer)) => {
                println!("{answer}");
                eprintln!("{name}: this is a stand-in of the Flexnode lab, not the real {name}");
                ExitCode::SUCCESS
            }
            Err(error) => {
                eprintln!("error: {error:#}");
                ExitCode::FAILURE
            }
            Ok(None) => {
                eprintln!(
                    "error: this {name} is a stand-in of the Flexnode lab and cannot do `{}`",
                    arguments.join(" ")
                );
                eprintln!("hint: docs/lab.md says what it can do; put the real {name} in its place for real work");
                ExitCode::FAILURE
            }
        }
    }

    /// What the real program prints for the questions that a stand-in can answer.
    fn answer(self, arguments: &[&str], version: &str) -> Option<String> {
        match (self, arguments) {
            (Self::Kubelet, ["--version"]) => Some(format!("Kubernetes v{version}")),
            (Self::Kubeadm, ["version", "-o", "short"] | ["version", "-oshort" | "--output=short"]) => {
                Some(format!("v{version}"))
            }
            (Self::Crictl, ["--version" | "-v"]) => Some(format!("crictl version v{version}")),
            _ => None,
        }
    }

    /// Writes itself, as made from `program` (a flexnode-vm), to `to`.
    ///
    /// A stamp behind the program says what it stands in for and in which version: the programs differ, as digests
    /// must, and each knows its version. An ELF loader does not look there.
    ///
    /// # Errors
    /// A file cannot be read or written.
    pub fn write(self, program: &Path, version: &str, to: &Path) -> Result<()> {
        stamp(program, self.name(), version, to)
    }
}

/// Writes `program`, stamped as the stand-in for `name` in this version, to `to`.
pub(crate) fn stamp(program: &Path, name: &str, version: &str, to: &Path) -> Result<()> {
    let context = || format!("write the stand-in `{}`", to.display());
    fs::copy(program, to).with_context(context)?;
    let mut file = OpenOptions::new().append(true).open(to).with_context(context)?;
    writeln!(file, "\n{STAMP}{name} {version}").with_context(context)?;
    file.sync_all().with_context(context)
}

const STAMP: &str = "flexnode stand-in: ";

/// The version when a program is called by a stand-in's name without having been stamped.
const UNSTAMPED: &str = "0.0.0";

/// The version with which this program was stamped.
pub(crate) fn version() -> String {
    // A program that cannot read itself has no stamp that anybody could see.
    stamped(Path::new("/proc/self/exe")).ok().flatten().unwrap_or_else(|| UNSTAMPED.to_owned())
}

fn stamped(program: &Path) -> Result<Option<String>> {
    let mut file = File::open(program).context("open the program")?;
    let size = file.metadata().context("read the program's size")?.len();
    file.seek(SeekFrom::Start(size.saturating_sub(96))).context("read the program's end")?;
    let mut end = Vec::new();
    file.read_to_end(&mut end).context("read the program's end")?;
    let end = String::from_utf8_lossy(&end);
    let stamp = end.trim_end().rsplit_once('\n').and_then(|(_, last)| last.strip_prefix(STAMP));
    Ok(stamp.and_then(|stamp| stamp.split_once(' ')).map(|(_, version)| version.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_decides_and_folders_do_not() {
        assert_eq!(StandIn::called(OsStr::new("/usr/local/bin/kubelet")), Some(StandIn::Kubelet));
        assert_eq!(StandIn::called(OsStr::new("crictl")), Some(StandIn::Crictl));
        assert_eq!(StandIn::called(OsStr::new("target/debug/flexnode-vm")), None);
    }

    #[test]
    fn versions_read_like_the_real_programs_and_all_else_is_refused() {
        assert_eq!(StandIn::Kubelet.answer(&["--version"], "1.30.0").as_deref(), Some("Kubernetes v1.30.0"));
        assert_eq!(StandIn::Kubeadm.answer(&["version", "-o", "short"], "1.30.0").as_deref(), Some("v1.30.0"));
        assert_eq!(StandIn::Crictl.answer(&["--version"], "1.30.0").as_deref(), Some("crictl version v1.30.0"));
        assert_eq!(StandIn::Kubelet.answer(&["--config", "/x"], "1.30.0"), None);
        assert_eq!(StandIn::Kubelet.answer(&[], "1.30.0"), None);
    }

    #[test]
    fn a_stamp_is_read_back_and_a_bare_program_has_none() {
        let here = tempfile::tempdir().unwrap();
        let exe = std::env::current_exe().unwrap();
        let to = here.path().join("kubeadm");
        StandIn::Kubeadm.write(&exe, "1.30.0", &to).unwrap();
        assert_eq!(stamped(&to).unwrap().as_deref(), Some("1.30.0"));
        assert_eq!(stamped(&exe).unwrap(), None);
    }
}
