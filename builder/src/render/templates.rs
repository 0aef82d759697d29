//! The templates: those built in, those of the user's directory, and the engine that fills them in.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use flexnode_firstboot::suggest;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, ErrorKind, UndefinedBehavior};

use super::context::Context;
use super::{filters, layout};
use crate::failure::{Class, Failure};
use crate::overlay::{Mode, OverlayPath};

/// In a template's name: one file for each registry of `containerd.mirrors`.
pub(super) const REGISTRY: &str = "{registry}";

/// Ends the name of a template that is rendered; any other is copied.
const RENDERED: &str = ".j2";

/// No configuration file is larger; a program belongs among the spec's extra files.
const LARGEST: u64 = 4 << 20;

macro_rules! built_in {
    ($($name:literal,)*) => {
        [$(($name, include_str!(concat!("../../../templates/", $name))),)*]
    };
}

/// Every file of `templates/`; a test holds the two together.
const BUILT_IN: [(&str, &str); 12] = built_in![
    "etc/containerd/certs.d/{registry}/hosts.toml.j2",
    "etc/containerd/config.toml.j2",
    "etc/crictl.yaml",
    "etc/modules-load.d/flexnode.conf",
    "etc/sysctl.d/99-flexnode.conf",
    "etc/systemd/system/containerd.service",
    "etc/systemd/system/flexnode-firstboot.service",
    "etc/systemd/system/flexnode-images.service",
    "etc/systemd/system/kubelet.service.j2",
    "usr/share/flexnode/import-images.sh",
    "var/lib/kubelet/config.yaml.j2",
    "var/lib/kubelet/token.sh.j2",
];

/// One template.
#[derive(Debug)]
pub(super) struct Template {
    /// Its name relative to the directory of templates.
    pub(super) name: String,
    /// The path it installs, with [`REGISTRY`] still in it.
    pub(super) installs: String,
    /// The installed file's mode.
    pub(super) mode: Mode,
    /// Where it came from, for people.
    origin: String,
    body: Vec<u8>,
}

impl Template {
    /// The path that one rendering installs.
    pub(super) fn path_for(&self, context: &Context<'_>) -> String {
        match context.registry() {
            Some(registry) => self.installs.replace(REGISTRY, registry),
            None => self.installs.clone(),
        }
    }

    fn is_rendered(&self) -> bool {
        self.name.ends_with(RENDERED)
    }
}

fn installs(name: &str) -> &str {
    name.strip_suffix(RENDERED).unwrap_or(name)
}

/// The built-in templates with those of `overrides` over them, sorted by what they install.
pub(super) fn load(overrides: Option<&Path>) -> Result<Vec<Template>> {
    let mut templates = BTreeMap::new();
    for (name, text) in BUILT_IN {
        let installs = installs(name).to_owned();
        templates.insert(
            installs.clone(),
            Template {
                mode: layout::mode(&installs).parse()?,
                name: name.into(),
                origin: name.into(),
                installs,
                body: text.into(),
            },
        );
    }
    if let Some(directory) = overrides {
        let mut own = Vec::new();
        walk(directory, "", &mut own).with_context(|| format!("read the templates in `{}`", directory.display()))?;
        own.sort_by(|a, b| a.name.cmp(&b.name));
        if own.is_empty() {
            let failure = Failure::new(Class::Usage, format!("`{}` holds no template", directory.display()));
            bail!(failure.hint("a template's name is the path it installs, as in `etc/containerd/config.toml.j2`"));
        }
        for mut template in own {
            match templates.get(&template.installs) {
                // The mode is what the node needs, whatever a checkout made of it.
                Some(replaced) => template.mode = replaced.mode,
                None => warn_about(&template),
            }
            if let Some(twin) = templates.insert(template.installs.clone(), template)
                && twin.origin != twin.name
            {
                let failure = Failure::new(Class::Usage, format!("two templates install `/{}`", twin.installs));
                bail!(failure.hint(format!("keep one of `{}` and its `{RENDERED}` form", twin.origin)));
            }
        }
    }
    Ok(templates.into_values().collect())
}

/// A further file is fine, that is what the tree is for; a near miss of a built-in name is worth a word.
fn warn_about(template: &Template) {
    let known = BUILT_IN.map(|(name, _)| installs(name));
    let same_file = |path: &str| path.rsplit('/').next() == template.installs.rsplit('/').next();
    let near = known.iter().copied().find(|path| same_file(path) && !path.contains(REGISTRY)).or_else(|| {
        suggest::nearest(&template.installs, known).filter(|path| path.len().abs_diff(template.installs.len()) < 3)
    });
    if let Some(near) = near {
        tracing::warn!("`{}` is a further file; to replace `/{near}` name it `{near}`", template.origin);
    }
}

fn walk(root: &Path, below: &str, found: &mut Vec<Template>) -> Result<()> {
    let directory = root.join(below);
    for entry in fs::read_dir(&directory).with_context(|| format!("list `{}`", directory.display()))? {
        let entry = entry?;
        let origin = entry.path().display().to_string();
        let refuse = |why: &str| Failure::new(Class::Usage, format!("template `{origin}` {why}"));
        let Ok(file_name) = entry.file_name().into_string() else {
            bail!(refuse("has a name that is not UTF-8"));
        };
        let name = if below.is_empty() { file_name } else { format!("{below}/{file_name}") };
        let metadata = entry.metadata()?;
        if metadata.is_dir() {
            walk(root, &name, found)?;
            continue;
        }
        if !metadata.is_file() {
            bail!(
                refuse("is neither a file nor a directory")
                    .hint("templates are plain files: replace a link by what it names")
            );
        }
        if metadata.len() > LARGEST {
            bail!(refuse("is larger than 4 MiB").hint("name it among the spec's extra files instead"));
        }
        installs(&name).parse::<OverlayPath>().map_err(|error| refuse(&format!("cannot be installed: {error}")))?;
        found.push(Template {
            mode: if metadata.permissions().mode() & 0o100 == 0 { Mode::FILE } else { Mode::EXECUTABLE },
            installs: installs(&name).to_owned(),
            body: fs::read(entry.path()).with_context(|| format!("read `{origin}`"))?,
            name,
            origin,
        });
    }
    Ok(())
}

/// The template engine, strict about undefined variables.
#[derive(Debug)]
pub(super) struct Engine<'a>(Environment<'a>);

impl<'a> Engine<'a> {
    /// Compiles all templates, so that they can include each other.
    pub(super) fn new(templates: &'a [Template]) -> Result<Self> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        let whitespace =
            SyntaxConfig::builder().keep_trailing_newline(true).trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(whitespace.context("set the template language up")?);
        environment.set_debug(true);
        filters::register(&mut environment);
        for template in templates.iter().filter(|template| template.is_rendered()) {
            let text = std::str::from_utf8(&template.body).map_err(|error| {
                let failure =
                    Failure::new(Class::Usage, format!("template `{}` is not UTF-8: {error}", template.origin));
                failure.hint(format!("leave `{RENDERED}` out of its name to have it copied as it is"))
            })?;
            environment.add_template(&template.name, text).map_err(|error| explain(&error, &template.origin, &[]))?;
        }
        Ok(Self(environment))
    }

    /// Fills in one template, or copies it.
    pub(super) fn render(&self, template: &Template, context: &Context<'_>) -> Result<Vec<u8>> {
        if !template.is_rendered() {
            return Ok(template.body.clone());
        }
        let context = serde_json::to_value(context).context("describe facts and values to the templates")?;
        let rendered = self.0.get_template(&template.name).and_then(|found| found.render(Serde(&context)));
        Ok(rendered.map(String::into_bytes).map_err(|error| explain(&error, &template.origin, &variables(&context)))?)
    }
}

fn explain(error: &minijinja::Error, origin: &str, known: &[String]) -> Failure {
    let line = error.line().map(|line| format!(", line {line}")).unwrap_or_default();
    let detail = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    let expression = error.range().and_then(|range| error.template_source()?.get(range));
    let what = match expression {
        Some(expression) if !detail.contains(expression) => format!("{detail}: `{expression}`"),
        _ => detail,
    };
    let failure = Failure::new(Class::Usage, format!("template `{origin}`{line}: {what}"));
    let near = expression.and_then(|wrong| suggest::nearest(wrong, known.iter().map(String::as_str)));
    match (error.kind(), near) {
        (ErrorKind::UndefinedError, Some(near)) => failure.hint(format!("did you mean `{near}`?")),
        (ErrorKind::UndefinedError, None) => {
            failure.hint("docs/templates.md lists what templates see; own values go under `custom`")
        }
        _ => failure.hint("docs/templates.md describes the template language"),
    }
}

/// Every variable of the context, written as templates write it.
fn variables(context: &serde_json::Value) -> Vec<String> {
    fn collect(prefix: &str, value: &serde_json::Value, found: &mut Vec<String>) {
        for (key, value) in value.as_object().into_iter().flatten() {
            let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
            collect(&path, value, found);
            found.push(path);
        }
    }
    let mut found = Vec::new();
    collect("", context, &mut found);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_tree_is_built_in_and_nothing_else() {
        let tree = Path::new(env!("CARGO_MANIFEST_DIR")).join("../templates");
        let mut found = Vec::new();
        walk(&tree, "", &mut found).expect("the tree can be read");
        let mut names: Vec<&str> = found.iter().map(|template| template.name.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, BUILT_IN.map(|(name, _)| name));
    }
}
