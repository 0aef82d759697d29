//! A temporary apt root: one suite of Debian beside the system's own, touching nothing of the system.
//!
//! The place, the keyring and the proxies are those of the system's own apt; only the suite is another one, and apt
//! checks its signature as ever.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context as _, Result, bail, ensure};
use flexnode_build::failure::{Class, Failure};

/// Debian's keyring, for sources that name none.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

const ELSEWHERE: &str = "make the lab on a Debian whose apt-get update works (a container will do) and copy its folder";

/// One suite, ready for downloads; its folder is removed when dropped.
#[derive(Debug)]
pub(super) struct Suite {
    root: tempfile::TempDir,
    codename: String,
}

impl Suite {
    /// Fetches the package lists of `suite` from where the system's own Debian packages come from.
    pub(super) fn fetch(suite: &str, source: &Source) -> Result<Self> {
        // apt downloads as the user _apt, who must be able to enter.
        let mode = fs::Permissions::from_mode(0o755);
        let root = tempfile::Builder::new()
            .prefix("flexnode-lab-apt-")
            .permissions(mode.clone())
            .tempdir()
            .context("create a temporary folder for apt")?;
        let at = |name: &str| root.path().join(name);
        for dir in ["lists", "lists/partial", "archives", "archives/partial"] {
            fs::create_dir(at(dir)).context("create a temporary folder for apt")?;
            fs::set_permissions(at(dir), mode.clone()).context("open a temporary folder to apt")?;
        }
        fs::write(at("lab.sources"), source.stanza(suite)).context("write apt's sources")?;
        fs::write(at("lab.conf"), configuration(root.path())).context("write apt's configuration")?;
        let mut fetched = Self { root, codename: suite.to_owned() };
        fetched.run(fetched.apt_get().args(["-o", "APT::Update::Error-Mode=any", "update"]))?;
        if let Some(codename) = fetched.codename_in_lists()? {
            fetched.codename = codename;
        }
        Ok(fetched)
    }

    /// The release's name (`bookworm`), which unlike `oldstable` means the same for ever.
    pub(super) fn codename(&self) -> &str {
        &self.codename
    }

    fn codename_in_lists(&self) -> Result<Option<String>> {
        for entry in fs::read_dir(self.root.path().join("lists")).context("list apt's package lists")? {
            let path = entry.context("list apt's package lists")?.path();
            // Signed in place, or signed beside: apt keeps one of the two.
            if path.to_string_lossy().ends_with("Release") {
                let text = fs::read_to_string(&path).context("read the suite's release file")?;
                let name = text.lines().find_map(|line| line.strip_prefix("Codename: "));
                return Ok(name.map(|name| name.trim().to_owned()));
            }
        }
        Ok(None)
    }

    /// Downloads the newest `package` of the suite into `to` and returns the file.
    pub(super) fn download(&self, package: &str, to: &Path) -> Result<PathBuf> {
        self.run(self.apt_get().args(["download", package]).current_dir(to))?;
        let mut files = fs::read_dir(to).context("list what apt downloaded")?;
        Ok(files
            .next()
            .with_context(|| format!("apt downloaded no {package}"))?
            .context("list what apt downloaded")?
            .path())
    }

    fn apt_get(&self) -> Command {
        let mut apt = Command::new("apt-get");
        apt.env("LC_ALL", "C.UTF-8").arg("--config-file").arg(self.root.path().join("lab.conf"));
        apt.args(["--quiet", "--assume-yes"]);
        apt
    }

    fn run(&self, apt: &mut Command) -> Result<()> {
        let output = apt.output().context("run apt-get")?;
        ensure!(output.status.success(), "apt-get: {}", complaint(&output));
        Ok(())
    }
}

/// apt's own words on what went wrong: its last `E:` line.
fn complaint(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    let errors = said.lines().rfind(|line| line.starts_with("E: "));
    errors.or(said.lines().next_back()).unwrap_or("it said nothing").to_owned()
}

/// Read after the system's own configuration, so that proxies and certificates hold. Hooks of the system (clearing
/// its package cache, telling its desktop) have no business here.
fn configuration(root: &Path) -> String {
    let root = root.display();
    format!(
        r#"#clear APT::Update;
Dir::Etc::sourcelist "{root}/lab.sources";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::State "{root}";
Dir::State::lists "{root}/lists";
Dir::State::status "/dev/null";
Dir::Cache "{root}";
Dir::Cache::archives "{root}/archives";
APT::Architecture "amd64";
APT::Architectures {{ "amd64"; }};
APT::Install-Recommends "false";
Acquire::Languages "none";
Acquire::Retries "3";
"#
    )
}

/// Where the system's own Debian packages come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Source {
    uri: String,
    signed_by: String,
}

impl Source {
    /// Reads the system's apt sources.
    pub(crate) fn of_system() -> Result<Self> {
        let id = os_release("ID").unwrap_or_else(|| "no Linux distribution".to_owned());
        ensure!(
            id == "debian",
            Failure::new(Class::Local, format!("this is {id}, and the lab's packages come from Debian's own sources"))
                .hint(ELSEWHERE)
        );
        for client in ["apt-get", "dpkg-deb"] {
            let started = Command::new(client).arg("--version").output();
            ensure!(
                started.is_ok_and(|output| output.status.success()),
                Failure::new(
                    Class::Local,
                    format!("{client} does not run here; it fetches containerd, runc and the CNI plugins")
                )
                .hint(ELSEWHERE)
            );
        }
        let mut files: Vec<PathBuf> = Vec::new();
        if let Ok(entries) = fs::read_dir("/etc/apt/sources.list.d") {
            files.extend(entries.filter_map(Result::ok).map(|entry| entry.path()));
        }
        files.sort();
        files.insert(0, "/etc/apt/sources.list".into());
        let codename = codename();
        for file in files {
            // Files that are not there or not ours to read hold nothing for us.
            let Ok(text) = fs::read_to_string(&file) else { continue };
            let found = match file.extension().and_then(|extension| extension.to_str()) {
                Some("sources") => Self::in_deb822(&text, &codename),
                Some("list") => Self::in_one_line_style(&text, &codename),
                _ => None,
            };
            if let Some(source) = found {
                return Ok(source);
            }
        }
        bail!(
            Failure::new(Class::Local, format!("apt has no source for Debian {codename} on this machine"))
                .hint(ELSEWHERE)
        )
    }

    /// The suite as apt's deb822 source: the index of programs and nothing else.
    pub(crate) fn stanza(&self, suite: &str) -> String {
        format!(
            "Types: deb\nURIs: {}\nSuites: {suite}\nComponents: main\nArchitectures: amd64\nTargets: Packages\nSigned-By:{}\n",
            self.uri,
            // A keyring may be given in place, as lines that are indented.
            if self.signed_by.starts_with('\n') { self.signed_by.clone() } else { format!(" {}", self.signed_by) }
        )
    }

    fn in_deb822(text: &str, codename: &str) -> Option<Self> {
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        lines.split(|line| line.trim().is_empty()).find_map(|stanza| {
            let field = |name: &str| {
                let mut lines = stanza
                    .iter()
                    .skip_while(|line| !line.split_once(':').is_some_and(|(key, _)| key.eq_ignore_ascii_case(name)));
                let first = lines.next()?.split_once(':')?.1.trim().to_owned();
                Some(lines.take_while(|line| line.starts_with([' ', '\t'])).fold(first, |all, line| all + "\n" + line))
            };
            let has =
                |name: &str, value: &str| field(name).is_some_and(|f| f.split_whitespace().any(|word| word == value));
            if has("Enabled", "no") || !has("Types", "deb") || !has("Suites", codename) || !has("Components", "main") {
                return None;
            }
            let uri = field("URIs")?.split_whitespace().next()?.to_owned();
            Some(Self { uri, signed_by: field("Signed-By").unwrap_or_else(|| KEYRING.to_owned()) })
        })
    }

    fn in_one_line_style(text: &str, codename: &str) -> Option<Self> {
        text.lines().find_map(|line| {
            let line = line.split('#').next()?.trim().strip_prefix("deb ")?.trim();
            let (options, rest) = match line.strip_prefix('[') {
                Some(line) => line.split_once(']')?,
                None => ("", line),
            };
            let mut words = rest.split_whitespace();
            let (uri, suite) = (words.next()?, words.next()?);
            if suite != codename || !words.any(|component| component == "main") {
                return None;
            }
            let signed_by = options.split_whitespace().find_map(|option| option.strip_prefix("signed-by="));
            Some(Self { uri: uri.to_owned(), signed_by: signed_by.unwrap_or(KEYRING).to_owned() })
        })
    }
}

/// The name of the Debian release that runs here, as /etc/os-release has it.
pub(super) fn codename() -> String {
    // Debian's testing and unstable may have none until shortly before their release.
    os_release("VERSION_CODENAME").unwrap_or_else(|| "sid".to_owned())
}

fn os_release(key: &str) -> Option<String> {
    // Without the file, it is no distribution that we know.
    let text = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
    Some(value.trim_matches('"').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const URI: &str = "http://mirror.invalid/debian";

    fn source(signed_by: &str) -> Option<Source> {
        Some(Source { uri: URI.to_owned(), signed_by: signed_by.to_owned() })
    }

    #[test]
    fn the_stanza_of_the_release_is_taken_and_others_are_not() {
        let text = format!(
            "# ours\nTypes: deb\nURIs: http://other.invalid/\nSuites: nodistro\nComponents: main\n\n\
             Types: deb deb-src\nURIs: {URI}\n# why\nSuites: bookworm bookworm-updates\nComponents: main\nSigned-By: /k.gpg\n"
        );
        assert_eq!(Source::in_deb822(&text, "bookworm"), source("/k.gpg"));
        assert_eq!(Source::in_deb822(&text, "trixie"), None);
        let off = text.replace("Suites: book", "Enabled: no\nSuites: book");
        assert_eq!(Source::in_deb822(&off, "bookworm"), None);
    }

    #[test]
    fn a_key_in_place_is_copied_whole() {
        let text =
            format!("Types: deb\nURIs: {URI}\nSuites: sid\nComponents: main\nSigned-By:\n -----BEGIN\n .\n abc\n");
        let found = Source::in_deb822(&text, "sid").unwrap();
        assert!(found.stanza("trixie").ends_with("Signed-By:\n -----BEGIN\n .\n abc\n"), "{}", found.stanza("trixie"));
    }

    #[test]
    fn the_one_line_style_is_read_too() {
        let text = format!("# deb {URI} trixie main\ndeb [arch=amd64 signed-by=/k.gpg] {URI} trixie main contrib\n");
        assert_eq!(Source::in_one_line_style(&text, "trixie"), source("/k.gpg"));
        assert_eq!(Source::in_one_line_style(&format!("deb {URI} trixie main # us"), "trixie"), source(KEYRING));
        assert_eq!(Source::in_one_line_style(&text, "trixie-updates"), None);
    }
}
