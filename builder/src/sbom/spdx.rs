//! The model as SPDX 2.3, in its JSON form.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use sha1::{Digest as _, Sha1};

use super::{CYCLONEDX_PATH, Kind, Package, SPDX_PATH, Sbom, reference};
use crate::bundle::MANIFEST_PATH;

const NO_ASSERTION: &str = "NOASSERTION";

pub(super) fn document(sbom: &Sbom) -> serde_json::Result<Value> {
    let builder = &sbom.builder;
    let id = sbom.id()?;
    let packages: BTreeMap<&str, String> = sbom.all_packages().map(|package| (&*package.key, id_of(package))).collect();
    let files: Vec<String> = sbom.files.iter().map(|file| spdx_id("File", &file.path, &file.path)).collect();
    let relation = |from: &str, kind: &str, to: &str| json!({"spdxElementId": from, "relationshipType": kind, "relatedSpdxElement": to});

    let mut relations = vec![relation("SPDXRef-DOCUMENT", "DESCRIBES", &packages[&*sbom.bundle.key])];
    for package in sbom.all_packages() {
        let from = &packages[&*package.key];
        relations.extend(package.contains.iter().map(|to| relation(from, "CONTAINS", &packages[&**to])));
        relations.extend(package.depends_on.iter().map(|to| relation(from, "DEPENDS_ON", &packages[&**to])));
    }
    for (file, id) in sbom.files.iter().zip(&files) {
        relations.push(relation(&packages[&*sbom.bundle.key], "CONTAINS", id));
        if let Some(component) = file.component.as_deref().and_then(|key| sbom.packages.iter().find(|p| p.key == key)) {
            let kind = if component.sha256 == Some(file.sha256) { "COPY_OF" } else { "EXPANDED_FROM_ARCHIVE" };
            relations.push(relation(id, kind, &packages[&*component.key]));
        }
    }
    Ok(json!({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": format!("{}-{}", sbom.bundle.name, sbom.bundle.version.as_deref().unwrap_or_default()),
        "documentNamespace": format!("urn:uuid:{id}"),
        "creationInfo": {
            "created": sbom.created.to_string(),
            "creators": [format!("Tool: {}-{}", builder.name, builder.version)],
        },
        "packages": sbom.all_packages().map(|package| describe(package, sbom)).collect::<Vec<_>>(),
        "files": sbom.files.iter().zip(&files).map(|(file, id)| json!({
            "fileName": format!("./{}", file.path),
            "SPDXID": id,
            "fileTypes": [if file.executable { "APPLICATION" } else { "OTHER" }],
            "checksums": [
                {"algorithm": "SHA1", "checksumValue": file.sha1},
                {"algorithm": "SHA256", "checksumValue": file.sha256},
            ],
        })).collect::<Vec<_>>(),
        "relationships": relations,
    }))
}

fn describe(package: &Package, sbom: &Sbom) -> Value {
    let mut fields = Map::new();
    let mut set = |key: &str, value: Value| fields.insert(key.to_owned(), value);
    set("name", json!(package.name));
    set("SPDXID", json!(id_of(package)));
    if let Some(version) = &package.version {
        set("versionInfo", json!(version));
    }
    let supplier = package.supplier.as_ref().map(|name| format!("Organization: {name}"));
    set("supplier", json!(supplier.as_deref().unwrap_or(NO_ASSERTION)));
    set("downloadLocation", json!(package.url.as_deref().unwrap_or(NO_ASSERTION)));
    let is_bundle = package.kind == Kind::Bundle;
    set("filesAnalyzed", json!(is_bundle));
    if is_bundle {
        let excluded = [MANIFEST_PATH, SPDX_PATH, CYCLONEDX_PATH].map(|path| format!("./{path}"));
        let code = json!({
            "packageVerificationCodeValue": verification_code(sbom),
            "packageVerificationCodeExcludedFiles": excluded,
        });
        set("packageVerificationCode", code);
    }
    if let Some(sha256) = package.sha256 {
        set("checksums", json!([{"algorithm": "SHA256", "checksumValue": sha256}]));
    }
    set("licenseDeclared", json!(package.license.as_deref().unwrap_or(NO_ASSERTION)));
    set("primaryPackagePurpose", json!(purpose(package.kind)));
    if !package.found_in.is_empty() {
        let found_in: Vec<&str> = package.found_in.iter().map(String::as_str).collect();
        set("sourceInfo", json!(format!("found in {}", found_in.join(", "))));
    }
    if let Some(note) = &package.note {
        set("comment", json!(note));
    }
    if let Some(purl) = &package.purl {
        let reference = json!({
            "referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": purl,
        });
        set("externalRefs", json!([reference]));
    }
    fields.into()
}

fn purpose(kind: Kind) -> &'static str {
    match kind {
        Kind::Bundle => "ARCHIVE",
        Kind::Component => "APPLICATION",
        Kind::GoModule | Kind::Crate => "LIBRARY",
    }
}

fn id_of(package: &Package) -> String {
    spdx_id("Package", &package.name, &package.key)
}

fn spdx_id(sort: &str, name: &str, key: &str) -> String {
    format!("SPDXRef-{}", reference(sort, name, key))
}

/// SPDX 2.3, clause 7.9: SHA-1 of the files' SHA-1 digests, sorted and joined.
fn verification_code(sbom: &Sbom) -> String {
    let mut digests: Vec<&str> = sbom.files.iter().map(|file| file.sha1.as_str()).collect();
    digests.sort_unstable();
    hex::encode(Sha1::digest(digests.concat()))
}
