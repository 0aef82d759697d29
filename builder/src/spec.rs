//! The spec file: everything the flags say, plus values, extra files and extra components.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::artifact::Arch;
use crate::document;
use crate::failure::{Class, Failure};
use crate::image;
use crate::overlay::{Mode, OverlayPath};
use crate::request::{ExtraComponent, Package, Request, Wanted};
use crate::target::Target;

const FORMAT: u32 = 1;

/// `flexnode.yaml`. Relative paths start at the spec's own directory; flags override what it says.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(title = "Flexnode build spec")]
pub struct Spec {
    /// Format of this file: 1.
    pub version: u32,
    /// Kubernetes minor or version (`--k8s`).
    pub kubernetes: Option<Wanted>,
    /// containerd version or range (`--containerd`).
    pub containerd: Option<Wanted>,
    /// runc version or range (`--runc`).
    pub runc: Option<Wanted>,
    /// CNI plugins version or range (`--cni`).
    pub cni: Option<Wanted>,
    /// crictl version or range (`--crictl`).
    pub crictl: Option<Wanted>,
    /// The nodes' architecture (`--arch`).
    pub arch: Option<Arch>,
    /// The distribution that the nodes run (`--target`).
    pub target: Option<Target>,
    /// Sandbox image, by digest (`--pause-image`).
    pub pause_image: Option<String>,
    /// Container images to preload, by digest (`--image`).
    #[serde(default)]
    pub images: Vec<image::Asked>,
    /// Whether the pause image is preloaded too; it is, unless this says `false` (`--no-pause-image`).
    pub preload_pause_image: Option<bool>,
    /// Optional components of the catalog: `kube-proxy`, `nerdctl=2.1` (`--with`).
    #[serde(default)]
    pub with: Vec<String>,
    /// Rules that may be broken, by name (`--allow`).
    #[serde(default)]
    pub allow: Vec<String>,
    /// Components that the catalog does not have.
    #[serde(default)]
    pub components: Vec<ExtraComponent>,
    /// Debian packages, the Arc agent's above all: they travel whole, and first boot installs what is not there yet.
    #[serde(default)]
    pub packages: Vec<Package>,
    /// Files of your own, installed as they are.
    #[serde(default)]
    pub files: Vec<ExtraFile>,
    /// Template values (`--set`); `flexnode-build schema --values` describes them.
    #[serde(default)]
    pub values: serde_json::Map<String, serde_json::Value>,
    /// Directory whose files override templates of the same name (`--templates`).
    pub templates: Option<PathBuf>,
    /// Catalog directory in the place of the built-in one (`--manifests`).
    pub manifests: Option<PathBuf>,
    /// The flexnode-firstboot to ship (`--firstboot`).
    pub firstboot: Option<PathBuf>,
    /// Mirrors, tried in order before upstream: URLs or directories (`--mirror`).
    #[serde(default)]
    pub mirrors: Vec<String>,
    /// Certificates to trust besides the system's (`--ca-cert`).
    #[serde(default)]
    pub ca_certs: Vec<PathBuf>,
    /// Where downloads are kept (`--cache-dir`).
    pub cache_dir: Option<PathBuf>,
    /// Never open a socket (`--offline`).
    #[serde(default)]
    pub offline: bool,
    /// Parallel downloads and compression threads (`--jobs`).
    pub jobs: Option<u32>,
    /// Attempts after the first for a failing download (`--retries`).
    pub retries: Option<u32>,
    /// zstd level, 1 to 19 (`--level`).
    pub level: Option<i32>,
    /// Build from this lock (`--lock`).
    pub lock: Option<PathBuf>,
    /// The bundle to write (`--output`).
    pub output: Option<PathBuf>,
}

/// A file of your own.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExtraFile {
    /// Where it goes on the node, without a leading slash.
    pub path: OverlayPath,
    /// The file to copy; either this or `content`.
    pub source: Option<PathBuf>,
    /// The text itself; either this or `source`.
    pub content: Option<String>,
    /// Its permission bits.
    #[serde(default = "plain")]
    pub mode: Mode,
}

fn plain() -> Mode {
    Mode::FILE
}

impl Spec {
    /// Reads a spec and makes its paths independent of the working directory.
    ///
    /// # Errors
    /// When it cannot be read, has unknown keys or another format.
    pub fn read(path: &Path) -> Result<Self> {
        let name = path.display().to_string();
        let mut spec = Self::parse(&document::read(path)?, &name)?;
        spec.rebase(path.parent().unwrap_or(Path::new("")));
        Ok(spec)
    }

    /// Parses a spec called `name`.
    ///
    /// # Errors
    /// When it has unknown keys or another format.
    pub fn parse(text: &str, name: &str) -> Result<Self> {
        let spec: Self =
            document::parse_yaml(text, name, "docs/spec.md and `flexnode-build schema` describe the spec")?;
        if spec.version != FORMAT {
            bail!(
                Failure::new(Class::Usage, format!("{name} has format {}, this program reads {FORMAT}", spec.version))
                    .hint("write `version: 1`")
            );
        }
        for file in &spec.files {
            if file.source.is_some() == file.content.is_some() {
                bail!(
                    Failure::new(Class::Usage, format!("{name}: the file {} needs a source or a content", file.path))
                        .hint("give it exactly one of `source: FILE` and `content: TEXT`")
                );
            }
        }
        Ok(spec)
    }

    /// What it asks the catalog for.
    #[must_use]
    pub fn request(&self) -> Request {
        Request {
            kubernetes: self.kubernetes.clone(),
            containerd: self.containerd.clone(),
            runc: self.runc.clone(),
            cni: self.cni.clone(),
            crictl: self.crictl.clone(),
            arch: self.arch,
            target: self.target,
            pause_image: self.pause_image.clone(),
            images: self.images.iter().map(|image| image.reference().clone()).collect(),
            without_pause_image: self.preload_pause_image == Some(false),
            with: self.with.iter().cloned().collect(),
            allow: self.allow.iter().cloned().collect(),
            components: self.components.clone(),
            packages: self.packages.clone(),
        }
    }

    fn rebase(&mut self, directory: &Path) {
        let paths = [
            &mut self.templates,
            &mut self.manifests,
            &mut self.firstboot,
            &mut self.cache_dir,
            &mut self.lock,
            &mut self.output,
        ];
        let sources = self.files.iter_mut().filter_map(|file| file.source.as_mut());
        let layouts = self.images.iter_mut().filter_map(image::Asked::layout_mut);
        for path in paths.into_iter().flatten().chain(&mut self.ca_certs).chain(sources).chain(layouts) {
            *path = directory.join(&*path);
        }
        for mirror in self.mirrors.iter_mut().filter(|mirror| !mirror.contains("://")) {
            *mirror = directory.join(&*mirror).to_string_lossy().into_owned();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> (String, Option<String>) {
        let error = Spec::parse(text, "flexnode.yaml").expect_err("this must be refused");
        (format!("{error:#}"), Failure::describe(&error).1.map(str::to_owned))
    }

    #[test]
    fn versions_are_read_as_written() {
        let spec = Spec::parse("version: 1\nkubernetes: 1.30\nrunc: 1.3.6\n", "flexnode.yaml").unwrap();
        assert_eq!(spec.request().flags(), "--k8s 1.30 --runc 1.3.6");
    }

    #[test]
    fn a_mode_is_octal_with_and_without_quotes() {
        for mode in ["0640", "\"0640\"", "640"] {
            let text = format!("version: 1\nfiles: [{{path: etc/x, content: a, mode: {mode}}}]\n");
            assert_eq!(Spec::parse(&text, "flexnode.yaml").unwrap().files[0].mode.bits(), 0o640, "{mode}");
        }
    }

    #[test]
    fn an_image_is_a_name_or_a_name_and_a_place_beside_the_spec() {
        let name = format!("example.test/agent:2@sha256:{}", crate::digest::Digest::of(b"an image"));
        let text = format!("version: 1\nimages: [\"{name}\", {{ref: \"{name}\", from: agent.oci}}]\n");
        let mut spec = Spec::parse(&text, "flexnode.yaml").unwrap();
        spec.rebase(Path::new("/srv/specs"));
        assert_eq!(spec.request().flags(), format!("--image {name}"));
        assert_eq!(spec.images[0].layout(), None);
        assert_eq!(spec.images[1].layout().unwrap(), Path::new("/srv/specs/agent.oci"));
    }

    #[test]
    fn an_unknown_key_suggests_the_right_one() {
        let (message, hint) = refusal("version: 1\nkubernets: \"1.30\"\n");
        assert!(message.contains("flexnode.yaml") && message.contains("kubernets"), "{message}");
        assert_eq!(hint.as_deref(), Some("did you mean `kubernetes` instead of `kubernets`?"));
    }

    #[test]
    fn each_kind_of_mistake_is_refused_in_one_line() {
        let mistakes = [
            "kubernetes: 1.30\n",
            "version: 2\n",
            "version: 1\nkubernetes: latest\n",
            "version: 1\narch: sparc\n",
            "version: 1\nfiles: [{path: /etc/x, content: a}]\n",
            "version: 1\nfiles: [{path: etc/../x, content: a}]\n",
            "version: 1\nfiles: [{path: etc/x}]\n",
            "version: 1\nfiles: [{path: etc/x, content: a, source: b}]\n",
            "version: 1\nfiles: [{path: etc/x, content: a, mode: \"4755\"}]\n",
            "version: 1\ncomponents: [{name: x, version: \"1\", url: u, sha256: abc, kind: tar, install: []}]\n",
            "version: 1\ncomponents: [{name: x, version: \"1\", url: u, kind: zip, install: []}]\n",
            "version: 1\nimages: [\"registry.k8s.io/pause:3.9\"]\n",
            "version: 1\nimages: [{from: image.oci}]\n",
            "version: 1\nversion: 1\n",
            "version: 1\nkubernetes: [\n",
            "",
            "- 1\n",
        ];
        for text in mistakes {
            let (message, _) = refusal(text);
            assert!(!message.contains('\n') && message.contains("flexnode.yaml"), "{text:?} gives {message:?}");
        }
    }
}
