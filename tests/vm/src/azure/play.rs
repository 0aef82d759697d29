//! The emulator for people to play with: `flexnode-vm azure`.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::{Emulator, Himds, Ports, Proxy, World, contoso};
use crate::azcmagent::Place;

/// Where to play.
#[derive(Debug)]
pub struct Playground {
    /// The folder for the files that a join needs.
    pub dir: PathBuf,
    /// The first of four ports, or any.
    pub port: Option<u16>,
}

/// A running emulator, and what to tell the player.
#[derive(Debug)]
pub struct Game {
    /// The emulator.
    pub emulator: Emulator,
    /// The machine's HIMDS.
    pub himds: Himds,
    /// The only way to a cloud by Azure's names.
    pub proxy: Option<Proxy>,
    /// The config's path.
    pub config: PathBuf,
    /// Folder of the Arc agent's state, `$AZCMAGENT_STATE`.
    pub state: PathBuf,
    /// Folder of HIMDS's challenges.
    pub tokens: PathBuf,
    /// Folder with the stand-in `azcmagent`.
    pub programs: PathBuf,
}

impl Playground {
    /// Starts contoso's world, and writes `config.yaml`, `client-secret`, `ca.pem` and a stand-in `azcmagent` into the
    /// folder.
    ///
    /// # Errors
    /// A port is taken, or the disk refuses.
    pub fn open(&self, program: &Path) -> Result<Game> {
        self.open_world(contoso::world(), program)
    }

    /// The same in another world, which has contoso's names in it.
    ///
    /// # Errors
    /// A port is taken, or the disk refuses.
    pub fn open_world(&self, world: World, program: &Path) -> Result<Game> {
        fs::create_dir_all(&self.dir).with_context(|| format!("create `{}`", self.dir.display()))?;
        let dir = self.dir.canonicalize().with_context(|| format!("find `{}`", self.dir.display()))?;
        let port = |nth: u16| self.port.map_or(Some(0), |port| port.checked_add(nth)).context("use a lower port");
        let ports = Ports { entra: port(0)?, arm: port(1)?, kubernetes: port(2)? };
        let emulator = Emulator::start(world.ports(ports))?;
        let [state, tokens, programs] = ["azcmagent", "tokens", "bin"].map(|name| dir.join(name));
        let place = Place::at(&state);
        place.point_to(&emulator)?;
        let himds = emulator.himds(&state, &tokens, port(3)?)?;
        fs::create_dir_all(&programs).with_context(|| format!("create `{}`", programs.display()))?;
        stand_in(program, &programs.join(crate::azcmagent::NAME))?;
        let (ca, secret, config) = (dir.join("ca.pem"), dir.join("client-secret"), dir.join("config.yaml"));
        fs::write(&ca, emulator.ca_pem()).with_context(|| format!("write `{}`", ca.display()))?;
        write_private(&secret, contoso::SECRET)?;
        // Azure's names lead elsewhere but there.
        let proxy = if emulator.is_azure() { Some(emulator.proxy()?) } else { None };
        write_private(&config, &emulator.config(&ca, &secret, "edge-node-01", proxy.as_ref()))?;
        Ok(Game { emulator, himds, proxy, config, state, tokens, programs })
    }
}

impl Game {
    /// What a player needs to know, as comments and the config itself: what is printed can be used as a config.
    ///
    /// # Errors
    /// The config has been removed meanwhile.
    pub fn rules(&self) -> Result<String> {
        let config = fs::read_to_string(&self.config).context("read the config back")?;
        let (server, _) = self.emulator.api_server(&contoso::cluster_id()).context("find the cluster")?;
        let path = |path: &Path| path.display().to_string();
        let facts = [
            ("Entra ID", self.emulator.entra().to_owned()),
            ("ARM", self.emulator.arm().to_owned()),
            ("Kubernetes", server),
            ("HIMDS", self.himds.url().to_owned()),
            ("HIMDS tokens", path(&self.tokens)),
            ("azcmagent", format!("AZCMAGENT_STATE={} {}/azcmagent", path(&self.state), path(&self.programs))),
            ("this config", path(&self.config)),
        ];
        let facts: String = facts.iter().map(|(what, value)| format!("# {what:<13} {value}\n")).collect();
        Ok(format!("{facts}{config}"))
    }
}

/// A link, since the program that it leads to tells by its name what it is to be.
fn stand_in(program: &Path, link: &Path) -> Result<()> {
    match fs::remove_file(link) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("replace `{}`", link.display()));
        }
        _ => {}
    }
    std::os::unix::fs::symlink(program, link).with_context(|| format!("link `{}`", link.display()))
}

fn write_private(path: &Path, text: &str) -> Result<()> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes())).with_context(|| format!("write `{}`", path.display()))
}
