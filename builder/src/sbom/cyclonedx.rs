//! The model as CycloneDX 1.6, in its JSON form.

use serde_json::{Map, Value, json};

use super::{File, Kind, Package, Sbom, reference};

pub(super) fn document(sbom: &Sbom) -> serde_json::Result<Value> {
    let files = sbom.files.iter().map(of_file);
    let components: Vec<Value> = sbom.packages.iter().map(of_package).chain(files).collect();
    let reference_of = |key: &String| sbom.packages.iter().find(|package| package.key == *key).map(reference_to);
    let dependencies = sbom.all_packages().map(|package| {
        // CycloneDX has one relation for both.
        let needs = package.contains.union(&package.depends_on).filter_map(reference_of);
        json!({"ref": reference_to(package), "dependsOn": needs.collect::<Vec<_>>()})
    });
    Ok(json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": format!("urn:uuid:{}", sbom.id()?),
        "version": 1,
        "metadata": {
            "timestamp": sbom.created.to_string(),
            "tools": {"components": [
                {"type": "application", "name": sbom.builder.name, "version": sbom.builder.version},
            ]},
            "component": of_package(&sbom.bundle),
        },
        "components": components,
        "dependencies": dependencies.collect::<Vec<_>>(),
    }))
}

fn of_package(package: &Package) -> Value {
    let mut fields = Map::new();
    let mut set = |key: &str, value: Value| fields.insert(key.to_owned(), value);
    let kind = match package.kind {
        Kind::Bundle | Kind::Component => "application",
        Kind::GoModule | Kind::Crate => "library",
    };
    set("type", json!(kind));
    set("bom-ref", json!(reference_to(package)));
    if let Some(supplier) = &package.supplier {
        set("supplier", json!({"name": supplier}));
    }
    set("name", json!(package.name));
    if let Some(version) = &package.version {
        set("version", json!(version));
    }
    if let Some(note) = &package.note {
        set("description", json!(note));
    }
    let hashes = package.sha256.map(|sha256| json!([{"alg": "SHA-256", "content": sha256}]));
    if let Some(hashes) = &hashes {
        set("hashes", hashes.clone());
    }
    if let Some(license) = &package.license {
        set("licenses", json!([{"expression": license}]));
    }
    if let Some(purl) = &package.purl {
        set("purl", json!(purl));
    }
    if let Some(url) = &package.url {
        let mut from = json!({"type": "distribution", "url": url});
        if let Some(hashes) = hashes {
            from["hashes"] = hashes;
        }
        set("externalReferences", json!([from]));
    }
    if !package.found_in.is_empty() {
        let found_in: Vec<Value> = package.found_in.iter().map(|path| json!({"location": path})).collect();
        set("evidence", json!({"occurrences": found_in}));
    }
    fields.into()
}

fn of_file(file: &File) -> Value {
    json!({
        "type": "file",
        "bom-ref": reference("file", &file.path, &file.path),
        "name": file.path,
        "hashes": [{"alg": "SHA-1", "content": file.sha1}, {"alg": "SHA-256", "content": file.sha256}],
    })
}

fn reference_to(package: &Package) -> String {
    reference("package", &package.name, &package.key)
}
