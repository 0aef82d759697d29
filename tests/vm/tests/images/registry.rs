//! Debian's docker-registry on loopback, and images that skopeo pushed there.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use flexnode_build::digest::Digest;
use flexnode_build::failure::Class;
use flexnode_build::image::Reference;
use serde_json::json;

use super::bench::{Bench, skopeo};
use super::login::{Answer, pull_as_a_child};

pub(crate) const USER: &str = "robot";
pub(crate) const PASSWORD: &str = "s3cret-canary";
/// bcrypt of [`PASSWORD`].
const HASH: &str = "$2b$04$dRkTgcsDiE.A7otGOLOFruZdhF9/P/ROoh0xyHwKNOLU0ADQ4XAam";

/// A running registry; it ends with this value.
struct Registry {
    process: Child,
    host: String,
}

impl Registry {
    fn start(dir: &Path) -> Self {
        fs::write(dir.join("htpasswd"), format!("{USER}:{HASH}\n")).unwrap();
        let config = format!(
            "version: 0.1\nlog: {{level: info}}\nstorage: {{filesystem: {{rootdirectory: {0}/registry}}}}\n\
             http: {{addr: '127.0.0.1:0'}}\nauth: {{htpasswd: {{realm: lab, path: {0}/htpasswd}}}}\n",
            dir.display()
        );
        let path = dir.join("registry.yml");
        fs::write(&path, config).unwrap();
        let mut process =
            Command::new("docker-registry").arg("serve").arg(&path).stderr(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(process.stderr.take().unwrap()).lines();
        let host = said.by_ref().find_map(|line| {
            let line = line.unwrap();
            let (_, rest) = line.split_once("listening on ")?;
            Some(rest.split(['"', ' ', ',']).next()?.to_owned())
        });
        // Somebody must go on reading, or it would wait for that.
        std::thread::spawn(move || said.for_each(drop));
        Self { process, host: host.unwrap() }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// Docker's configuration, in a folder of its own.
pub(crate) fn docker_config(dir: &Path, host: &str, password: &str) {
    use base64::Engine as _;
    let auth = base64::engine::general_purpose::STANDARD.encode(format!("{USER}:{password}"));
    fs::create_dir_all(dir).unwrap();
    fs::write(dir.join("config.json"), json!({"auths": {host: {"auth": auth}}}).to_string()).unwrap();
}

#[test]
fn a_real_registry_is_pulled_from_with_dockers_credential_and_with_no_other() {
    let bench = Bench::new();
    let registry = Registry::start(bench.dir.path());
    let manifest = bench.manifest("amd64");
    let source = bench.name(&manifest);
    let size = fs::metadata(bench.blob(source.digest())).unwrap().len();
    let index = json!({"schemaVersion": 2, "manifests": [{
        "mediaType": manifest["mediaType"], "digest": format!("sha256:{}", source.digest()), "size": size,
    }]});
    fs::write(bench.layout().join("index.json"), index.to_string()).unwrap();
    let good = bench.dir.path().join("good");
    docker_config(&good, &registry.host, PASSWORD);
    let from = format!("oci:{}", bench.layout().display());
    for format in ["oci", "v2s2"] {
        let name = format!("{}/edge/{format}:1", registry.host);
        let digest = bench.dir.path().join("digest");
        let digest_file = digest.to_str().unwrap();
        let to = format!("docker://{name}");
        let copy = ["copy", "--quiet", "--dest-tls-verify=false", "--format", format, "--digestfile", digest_file];
        skopeo(&[&copy[..], &[&from, &to]].concat(), Some(&good.join("config.json")));
        let reference: Reference = format!("{name}@{}", fs::read_to_string(&digest).unwrap().trim()).parse().unwrap();

        let told = pull_as_a_child(&bench.dir.path().join(format!("cache-{format}")), &reference, &good);
        assert_eq!(told, Answer::Pulled(3), "{format}");

        let wrong = bench.dir.path().join("wrong");
        docker_config(&wrong, &registry.host, "another-canary");
        let nobody = bench.dir.path().join("nobody");
        for config in [&wrong, &nobody] {
            let Answer::Refused { class, said } =
                pull_as_a_child(&bench.dir.path().join("empty-cache"), &reference, config)
            else {
                panic!("pulled without the right credential")
            };
            assert_eq!(class, Class::Network as u8);
            assert!(said.contains("401"), "{said}");
            assert!(!said.contains("canary"), "{said}");
        }
    }
}

#[test]
fn a_digest_that_the_registry_does_not_have_is_told_as_missing() {
    let bench = Bench::new();
    let registry = Registry::start(bench.dir.path());
    let config = bench.dir.path().join("docker");
    docker_config(&config, &registry.host, PASSWORD);
    let reference = format!("{}/edge/none:1@sha256:{}", registry.host, Digest::of(b"nothing")).parse().unwrap();
    let Answer::Refused { class, said } = pull_as_a_child(&bench.cache(), &reference, &config) else {
        panic!("pulled what is not there")
    };
    assert_eq!(class, Class::Network as u8);
    assert!(said.contains("HTTP 404"), "{said}");
}
