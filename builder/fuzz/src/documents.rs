//! Documents: catalog, lock, spec, values, bundle.json, node configuration. None may panic, none may be let through and
//! then not be written as it was read, and every refusal has words.

use std::collections::BTreeMap;

use anyhow::Error;
use flexnode_build::bundle::Manifest;
use flexnode_build::catalog::{Catalog, lint};
use flexnode_build::lock::Lock;
use flexnode_build::render::Values;
use flexnode_build::spec::Spec;
use flexnode_firstboot::config::{Fragment, Settings};

const COMPAT: &str = include_str!("../../../manifests/compat.yaml");

pub(crate) fn catalog(text: &str) {
    told(files([("compat.yaml", COMPAT), ("runc.yaml", text)]));
}

pub(crate) fn compat(text: &str) {
    told(files([("compat.yaml", text)]));
}

fn files<const N: usize>(files: [(&str, &str); N]) -> Result<(), Error> {
    let files: BTreeMap<_, _> = files.map(|(name, text)| (name.to_owned(), text.to_owned())).into();
    let _findings = lint(&Catalog::parse(files)?);
    Ok(())
}

pub(crate) fn lock(text: &str) {
    told(Lock::parse(text, "flexnode.lock").map(|lock| {
        let written = lock.to_json().expect("a lock can be written");
        assert_eq!(Lock::parse(&written, "flexnode.lock").expect("a written lock is read"), lock);
    }));
}

pub(crate) fn spec(text: &str) {
    told(Spec::parse(text, "flexnode.yaml").map(|spec| drop(spec.request().flags())));
}

pub(crate) fn set(text: &str) {
    told(Values::from_layers(&[], &[text.to_owned()]).map(drop));
}

pub(crate) fn bundle_json(text: &str) {
    told(Manifest::parse(text).map(|manifest| {
        let written = serde_json::to_string(&manifest).expect("a manifest can be written");
        assert_eq!(Manifest::parse(&written).expect("a written manifest is read"), manifest);
    }));
}

pub(crate) fn node_config(text: &str) {
    if let Ok(fragment) = Fragment::parse(text, "config.yaml") {
        let _either = Settings::from_fragments([fragment]);
    }
}

/// A refusal has words.
fn told(outcome: Result<(), Error>) {
    if let Err(error) = outcome {
        let message = format!("{error:#}");
        assert!(!message.trim().is_empty());
    }
}
