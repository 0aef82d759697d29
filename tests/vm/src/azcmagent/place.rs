//! Where the agent keeps what it knows, and where it finds the emulator.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::trouble::{Code, Outcome, Trouble};
use crate::azure::{AgentConfig, Emulator, guid};

/// Where the emulator is, as the lab tells the stand-in.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Whereabouts {
    /// ARM, an origin.
    pub arm: String,
    /// Entra ID, an origin.
    pub authority: String,
    /// PEM file of the authority to trust.
    pub ca: PathBuf,
    /// The cloud, as `azcmagent --cloud` has it.
    pub cloud: String,
}

/// What `azcmagent config` changes.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Settings {
    /// The way out.
    #[serde(rename = "proxy.url", default, skip_serializing_if = "Option::is_none")]
    pub(super) proxy_url: Option<String>,
}

/// The agent's state directory.
#[derive(Debug, Clone)]
pub struct Place {
    state: PathBuf,
}

impl Place {
    /// That of this machine: `$AZCMAGENT_STATE`, otherwise `/var/opt/azcmagent`.
    #[must_use]
    pub fn of_this_machine() -> Self {
        let state = std::env::var_os("AZCMAGENT_STATE").filter(|state| !state.is_empty());
        Self { state: state.map_or_else(|| "/var/opt/azcmagent".into(), PathBuf::from) }
    }

    /// One for a lab.
    #[must_use]
    pub fn at(state: &Path) -> Self {
        Self { state: state.to_owned() }
    }

    /// Writes what leads the stand-in to this emulator: `emulator.json`, and `ca.pem` beside it.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn point_to(&self, emulator: &Emulator) -> Result<()> {
        fs::create_dir_all(&self.state).with_context(|| format!("create `{}`", self.state.display()))?;
        let ca = self.state.join("ca.pem");
        fs::write(&ca, emulator.ca_pem()).with_context(|| format!("write `{}`", ca.display()))?;
        let there = Whereabouts {
            arm: emulator.arm().to_owned(),
            authority: emulator.entra().to_owned(),
            ca,
            cloud: emulator.azcmagent_cloud().to_owned(),
        };
        let text = serde_json::to_string_pretty(&there).context("write the emulator's place")?;
        fs::write(self.state.join(EMULATOR), text).context("write the emulator's place")
    }

    pub(super) fn state(&self) -> &Path {
        &self.state
    }

    pub(super) fn emulator(&self) -> Outcome<Whereabouts> {
        let files = [self.state.join(EMULATOR), PathBuf::from("/etc/flexnode-lab/azcmagent.json")];
        for file in &files {
            match fs::read(file) {
                Ok(text) => {
                    return Ok(serde_json::from_slice(&text).with_context(|| format!("read `{}`", file.display()))?);
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => Err(error).with_context(|| format!("read `{}`", file.display()))?,
            }
        }
        let message = format!("this is a stand-in, and {} does not say where the emulator is", files[0].display());
        Err(Trouble::new(Code::Network, message))
    }

    pub(super) fn settings(&self) -> Outcome<Settings> {
        Ok(self.read(SETTINGS)?.unwrap_or_default())
    }

    pub(super) fn keep_settings(&self, settings: &Settings) -> Outcome<()> {
        let text = serde_json::to_vec_pretty(settings).context("write the agent's settings")?;
        Ok(self.write(SETTINGS, &text)?)
    }

    /// What the machine is connected as.
    pub(super) fn config(&self) -> Outcome<Option<AgentConfig>> {
        Ok(self.read(AgentConfig::FILE)?)
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        let path = self.state.join(name);
        let context = || format!("read `{}`", path.display());
        match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map(Some).with_context(context),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(context),
        }
    }

    pub(super) fn keep(&self, config: &AgentConfig) -> Outcome<()> {
        let text = serde_json::to_vec_pretty(config).context("write the agent's config")?;
        Ok(self.write(AgentConfig::FILE, &text)?)
    }

    /// What the agent calls this machine: made once, so that a connect that was cut off goes on as the same machine.
    pub(super) fn vm_id(&self) -> Outcome<String> {
        match fs::read_to_string(self.state.join(VM_ID)) {
            Ok(id) => Ok(id),
            Err(_) => {
                let id = guid::fresh()?;
                self.write(VM_ID, id.as_bytes())?;
                Ok(id)
            }
        }
    }

    pub(super) fn forget(&self) -> Outcome<()> {
        // The config last: until then it is still this machine that has to be forgotten.
        for file in [VM_ID, AgentConfig::FILE] {
            match fs::remove_file(self.state.join(file)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    Err(error).with_context(|| format!("remove `{file}`"))?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The old content or the new, whatever happens.
    fn write(&self, name: &str, content: &[u8]) -> Result<()> {
        fs::create_dir_all(&self.state).with_context(|| format!("create `{}`", self.state.display()))?;
        let (path, partial) = (self.state.join(name), self.state.join(format!("{name}.partial")));
        let context = || format!("write `{}`", path.display());
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&partial)
            .with_context(context)?;
        file.write_all(content).and_then(|()| file.sync_all()).with_context(context)?;
        fs::rename(&partial, &path).with_context(context)?;
        // The name too: a power cut forgets a rename that only the file's content has outrun.
        File::open(&self.state).and_then(|state| state.sync_all()).with_context(context)
    }
}

const EMULATOR: &str = "emulator.json";
const VM_ID: &str = "vmid";
const SETTINGS: &str = "localconfig.json";

/// Refuses whoever is not root.
pub(super) fn is_root() -> Outcome<()> {
    // What belongs to a process belongs to its effective user (proc(5)).
    let owner = fs::metadata("/proc/self/stat").context("ask who runs this")?.uid();
    if owner == 0 { Ok(()) } else { Err(Trouble::new(Code::NotRoot, "this command needs root; use sudo")) }
}
