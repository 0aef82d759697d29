//! Real programs that take a stand-in's place: the kubelet that `FLEXNODE_KUBELET` names, and the kubeadm and crictl
//! beside it, where there are such.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use flexnode_build::digest::Digest;
use flexnode_build::failure::{Class, Failure};
use semver::Version;

use crate::standin::StandIn;

/// Which program is in whose place.
pub(super) fn programs() -> BTreeMap<&'static str, PathBuf> {
    let Some(kubelet) = std::env::var_os("FLEXNODE_KUBELET").map(PathBuf::from) else { return BTreeMap::new() };
    let beside = |stand_in: &StandIn| (stand_in.name(), kubelet.with_file_name(stand_in.name()));
    let others = [StandIn::Kubeadm, StandIn::Crictl];
    let others = others.iter().map(beside).filter(|(_, path)| path.is_file());
    others.chain([(StandIn::Kubelet.name(), kubelet.clone())]).collect()
}

/// Their digests.
pub(super) fn digests(programs: &BTreeMap<&'static str, PathBuf>) -> Result<BTreeMap<String, Digest>> {
    let digest = |(name, path): (&&str, &PathBuf)| {
        let context = || format!("read `{}`", path.display());
        let (digest, _) = Digest::of_reader(File::open(path).with_context(context)?).with_context(context)?;
        Ok(((*name).to_owned(), digest))
    };
    programs.iter().map(digest).collect()
}

/// Refuses a program of another version than the lab's: catalog, names and rules are that version's.
pub(super) fn check(stand_in: StandIn, program: &Path, version: &Version) -> Result<()> {
    let (arguments, expected): (&[&str], _) = match stand_in {
        StandIn::Kubelet => (&["--version"], format!("Kubernetes v{version}")),
        StandIn::Kubeadm => (&["version", "-o", "short"], format!("v{version}")),
        StandIn::Crictl => (&["--version"], format!("crictl version v{version}")),
    };
    let output = Command::new(program).args(arguments).output();
    let output = output.with_context(|| format!("run `{}`", program.display()))?;
    let said = String::from_utf8_lossy(&output.stdout);
    let said = said.trim_end();
    ensure!(
        output.status.success() && said == expected,
        Failure::new(Class::Usage, format!("`{}` says {said:?}, and the lab wants {expected:?}", program.display()))
            .hint(format!("name a {} of {version} with FLEXNODE_KUBELET, or beside it", stand_in.name()))
    );
    Ok(())
}
