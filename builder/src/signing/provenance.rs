//! Where a bundle came from, as an in-toto statement with SLSA v1 provenance: a function of the build's inputs alone.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use reqwest::Url;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::bundle::{Component, Manifest};
use crate::digest::Digest;
use crate::lock::Lock;

const STATEMENT: &str = "https://in-toto.io/Statement/v1";
const PREDICATE: &str = "https://slsa.dev/provenance/v1";

/// What `externalParameters` means; docs/signing.md says it.
const BUILD_TYPE: &str = "urn:flexnode:build:v1";

/// Who ran the build is not known; which program it was, is.
const BUILDER: &str = "urn:flexnode:builder";

/// The commit that this program was built from, where its build said so.
const REVISION: Option<&str> = option_env!("FLEXNODE_REVISION");

/// How the build was asked for, as far as the lock does not say it.
#[derive(Debug)]
pub struct Invocation<'a> {
    /// zstd level.
    pub level: i32,
    /// The values that were set, by name: what they were set to may be nobody's business.
    pub set: Vec<&'a str>,
    /// Digest of the spec file, where there was one.
    pub spec: Option<Digest>,
}

/// The statement about the archive `sha256` at `path`.
///
/// # Errors
/// When the lock cannot be encoded.
pub fn statement(
    path: &Path,
    sha256: Digest,
    lock: &Lock,
    manifest: &Manifest,
    invocation: &Invocation<'_>,
) -> Result<Value> {
    let document = |name: &str, sha256: Digest| json!({"name": name, "digest": {"sha256": sha256}});
    let mut dependencies = vec![document("flexnode.lock", Digest::of(lock.to_json()?.as_bytes()))];
    dependencies.extend(invocation.spec.map(|sha256| document("spec", sha256)));
    dependencies.extend(manifest.components.iter().map(dependency));
    let mut builder = json!({"id": BUILDER, "version": {(&*manifest.builder.name): manifest.builder.version}});
    if let Some(revision) = REVISION {
        builder["builderDependencies"] = json!([{"name": "flexnode", "digest": {"gitCommit": revision}}]);
    }
    Ok(json!({
        "_type": STATEMENT,
        "subject": [{"name": path.file_name().unwrap_or_default().to_string_lossy(), "digest": {"sha256": sha256}}],
        "predicateType": PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {
                    "kubernetes": lock.kubernetes,
                    "arch": lock.arch,
                    "target": lock.target,
                    "allowed": lock.allowed.iter().map(|allowed| &allowed.rule).collect::<Vec<_>>(),
                    "set": invocation.set,
                    "level": invocation.level,
                    "epoch": manifest.epoch,
                },
                "resolvedDependencies": dependencies,
            },
            "runDetails": {"builder": builder},
        },
    }))
}

fn dependency(component: &Component) -> Value {
    let mut dependency = json!({
        "name": component.name,
        "digest": {"sha256": component.sha256},
        "annotations": {"version": component.version, "proof": component.proof},
    });
    if let Some(uri) = public_url(&component.url) {
        dependency["uri"] = uri.into();
    }
    dependency
}

/// The address as others may see it: without user, password and query, which may be secret; no path of this machine.
fn public_url(url: &str) -> Option<String> {
    let mut url = Url::parse(url).ok().filter(|url| url.scheme() != "file")?;
    // Both fail only for addresses that cannot hold any.
    let _ = (url.set_username(""), url.set_password(None));
    url.set_query(None);
    url.set_fragment(None);
    Some(url.into())
}

/// That the statement is provenance of the archive with the digest `sha256`.
pub(super) fn check_subject(statement: &[u8], sha256: Digest) -> Result<()> {
    #[derive(Deserialize)]
    struct Statement {
        #[serde(rename = "_type")]
        kind: String,
        #[serde(rename = "predicateType")]
        predicate: String,
        subject: Vec<Subject>,
    }
    #[derive(Deserialize)]
    struct Subject {
        digest: Digests,
    }
    #[derive(Deserialize)]
    struct Digests {
        sha256: Digest,
    }
    let statement: Statement = serde_json::from_slice(statement).context("its statement is not of in-toto's form")?;
    // cosign still writes the version before.
    let is_statement = [STATEMENT, "https://in-toto.io/Statement/v0.1"].contains(&statement.kind.as_str());
    ensure!(is_statement && statement.predicate == PREDICATE, "it is no SLSA v1 provenance");
    ensure!(statement.subject.iter().any(|subject| subject.digest.sha256 == sha256), "it is about another archive");
    Ok(())
}
