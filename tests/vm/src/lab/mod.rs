//! The lab: a mirror and a catalog of real programs, for machines that cannot reach upstream's hosts.
//!
//! `DIR/mirror` is what `flexnode-build --mirror` reads, `DIR/manifests` what `--manifests` reads, `DIR/lab.json` says
//! what both were made of. A lab is there as a whole or not at all.

mod apt;
mod archive;
mod cache;
mod deb;
mod debian;
mod gate;
mod manifests;
mod pieces;
mod place;
mod wheel;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::{Context as _, Result, ensure};
use flexnode_build::catalog::Catalog;
use flexnode_build::digest::Digest;
use semver::Version;
use serde::{Deserialize, Serialize};

pub use self::cache::Cache;
pub use self::debian::Package;
use self::place::Place;
pub use self::wheel::{NOT_A_KUBECTL, WHEELS, Wheel};

/// The lab's Kubernetes.
pub const KUBERNETES: Version = Version::new(1, 30, 0);

/// Counts up whenever the same inputs give another lab.
const RECIPE: u32 = 2;

/// What to make a lab of, and where.
#[derive(Debug, Clone)]
pub struct Order {
    /// The lab's folder.
    pub dir: PathBuf,
    /// Where downloads are kept.
    pub cache: PathBuf,
    /// The flexnode-vm that becomes the stand-ins.
    pub stand_in: PathBuf,
    /// Ask Debian what it has now, instead of taking what the cache remembers.
    pub refresh: bool,
}

/// A complete lab. Nobody replaces it as long as this value lives.
#[derive(Debug)]
pub struct Lab {
    dir: PathBuf,
    record: Record,
    _lease: File,
}

/// What a lab was made of and holds, as `lab.json` says it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Record {
    /// What it was made of.
    pub inputs: Inputs,
    /// Every file, by its path below the lab's folder.
    pub files: BTreeMap<String, Digest>,
}

/// What a lab is made of: the same inputs give the same bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Inputs {
    recipe: u32,
    kubernetes: Version,
    catalog: Digest,
    stand_in: Digest,
    /// Debian's packages.
    pub debian: Vec<Package>,
}

/// Makes the lab, or keeps the one that is there when it was made of the same inputs and is intact.
///
/// # Errors
/// A client (pip, apt) is missing or fails, what it fetched is not what was pinned, or the disk refuses.
pub fn make(order: &Order) -> Result<Lab> {
    let shipped = Catalog::embedded()?;
    let inputs = Inputs::gather(order, &shipped)?;
    let place = Place::new(&order.dir)?;
    let lease = place.lock_file()?;
    let mut made = false;
    loop {
        lease.lock_shared().context("lock the lab")?;
        if let Some(record) = place.holds(&inputs)? {
            eprintln!("lab: `{}` is {}", order.dir.display(), if made { "made" } else { "there already: kept" });
            return Ok(Lab { dir: order.dir.clone(), record, _lease: lease });
        }
        lease.unlock().context("unlock the lab")?;
        if lease.try_lock().is_err() {
            eprintln!("lab: waiting for another process that uses `{}`", order.dir.display());
            lease.lock().context("lock the lab")?;
        }
        // Another process may have made it while this one waited.
        if place.holds(&inputs)?.is_none() {
            place.clear()?;
            let files = pieces::build(&place.partial, order, &shipped, &inputs)?;
            place.finish(&Record { inputs: inputs.clone(), files })?;
            made = true;
        }
        lease.unlock().context("unlock the lab")?;
    }
}

/// The lab that all tests of this build share: `lab` beside the programs of the build's profile, made once.
///
/// # Errors
/// As for [`make`], in one line.
pub fn shared() -> Result<&'static Lab> {
    static SHARED: OnceLock<Result<Lab, String>> = OnceLock::new();
    let make_it = || {
        let exe = std::env::current_exe().context("find this program")?;
        // Tests run as target/<profile>/deps/<test>-<hash>; the program under test is one folder up.
        let beside = exe.parent().context("find this program's folder")?;
        let programs = if beside.ends_with("deps") { beside.parent().unwrap_or(beside) } else { beside };
        let (dir, stand_in) = (programs.join("lab"), programs.join("flexnode-vm"));
        ensure!(stand_in.is_file(), "`{}` is missing; cargo builds it with `-p flexnode-vm`", stand_in.display());
        make(&Order { dir, cache: Cache::default_dir()?, stand_in, refresh: false })
    };
    let lab = SHARED.get_or_init(|| make_it().map_err(|error| format!("{error:#}")));
    lab.as_ref().map_err(|error| anyhow::anyhow!("make the shared lab: {error}"))
}

impl Lab {
    /// The lab's folder, as it was ordered.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What `flexnode-build --mirror` takes.
    #[must_use]
    pub fn mirror(&self) -> PathBuf {
        self.dir.join("mirror")
    }

    /// What `flexnode-build --manifests` takes.
    #[must_use]
    pub fn manifests(&self) -> PathBuf {
        self.dir.join("manifests")
    }

    /// The command that builds a bundle from it, ready for a shell.
    #[must_use]
    pub fn command(&self) -> String {
        let Version { major, minor, .. } = KUBERNETES;
        let [manifests, mirror] = [self.manifests(), self.mirror()].map(|path| quoted(&path));
        format!("flexnode-build --k8s {major}.{minor} --manifests {manifests} --mirror {mirror} -o bundle.tar.zst")
    }

    /// What it was made of and holds.
    #[must_use]
    pub fn record(&self) -> &Record {
        &self.record
    }
}

/// The path as one word of a shell's command line.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

impl Inputs {
    fn gather(order: &Order, shipped: &Catalog) -> Result<Self> {
        let cache = Cache::open(&order.cache)?;
        let debian = debian::packages(&cache, shipped, &KUBERNETES, order.refresh)?;
        let context = || format!("read the program for stand-ins `{}`", order.stand_in.display());
        let (stand_in, _) =
            Digest::of_reader(File::open(&order.stand_in).with_context(context)?).with_context(context)?;
        Ok(Self { recipe: RECIPE, kubernetes: KUBERNETES, catalog: shipped.digest, stand_in, debian })
    }
}
