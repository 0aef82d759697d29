//! What the types of [`Values`] cannot refuse: values that would render into a node that does not work.

use std::net::IpAddr;

use anyhow::{Result, bail};
use flexnode_firstboot::config::kubernetes;
use serde::Serialize;
use serde_json::json;

use super::values::{Himds, Mirror, Values};
use crate::failure::{Class, Failure};
use crate::overlay::OverlayPath;

impl Values {
    /// Refuses values that would render into a node that does not work.
    ///
    /// # Errors
    /// A [`Class::Usage`] failure that names the key.
    pub fn check(&self) -> Result<()> {
        let Self { kubelet, containerd, network, himds, custom: _ } = self;
        let (low, high) = (kubelet.image_gc_low_threshold_percent, kubelet.image_gc_high_threshold_percent);
        if low >= high || high > 100 {
            bail!(
                refuse("kubelet.imageGcLowThresholdPercent", low, "must be below imageGcHighThresholdPercent")
                    .hint(format!("imageGcHighThresholdPercent is {high}, and must be 100 at most"))
            );
        }
        for (key, value) in &kubelet.node_labels {
            kubernetes::check_label(key, value).map_err(|flaw| {
                let message = format!("value `kubelet.nodeLabels.\"{key}\"`: {}", flaw.message);
                Failure::new(Class::Usage, message).hint(flaw.hint)
            })?;
        }
        for (host, mirror) in &containerd.mirrors {
            check_mirror(host, mirror)?;
        }
        if let Some(address) = containerd.metrics_address.filter(|address| !address.ip().is_loopback()) {
            bail!(
                refuse("containerd.metricsAddress", address, "is not on the loopback interface")
                    .hint("metrics name every image and container of the node: serve them through an agent")
            );
        }
        for (key, path) in [
            ("network.cniBinDir", &network.cni_bin_dir),
            ("network.cniConfDir", &network.cni_conf_dir),
            ("himds.tokensDirectory", &himds.tokens_directory),
        ] {
            check_path(key, path)?;
        }
        check_himds(himds)
    }
}

fn check_mirror(host: &str, mirror: &Mirror) -> Result<()> {
    let named = format!("containerd.mirrors.\"{host}\"");
    let (name, port) = host.split_once(':').unwrap_or((host, "1"));
    let is_host = !name.is_empty()
        && !name.starts_with('.')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.'));
    if host != "_default" && !(is_host && port.parse::<u16>().is_ok()) {
        bail!(
            refuse(&named, host, "is no registry host")
                .hint("write the host as image names spell it, without scheme and path: `docker.io`, `_default`")
        );
    }
    if mirror.endpoints.is_empty() {
        bail!(refuse(&format!("{named}.endpoints"), "[]", "names no endpoint"));
    }
    for endpoint in &mirror.endpoints {
        check_url(&format!("{named}.endpoints"), endpoint)?;
    }
    mirror.ca.iter().try_for_each(|ca| check_path(&format!("{named}.ca"), ca))
}

fn check_himds(himds: &Himds) -> Result<()> {
    let host = check_url("himds.endpoint", &himds.endpoint)?;
    let is_loopback = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    if !is_loopback || !himds.endpoint.starts_with("http://") {
        bail!(
            refuse("himds.endpoint", &himds.endpoint, "is not on the loopback interface")
                .hint("the Arc agent listens on `http://localhost:40342`")
        );
    }
    for (key, text) in [("himds.resource", &himds.resource), ("himds.apiVersion", &himds.api_version)] {
        if text.is_empty() || !text.chars().all(|c| c.is_ascii_alphanumeric() || ":/.-_".contains(c)) {
            bail!(refuse(key, text, "must be letters, digits and `:/.-_`"));
        }
    }
    if himds.connect_timeout_seconds == 0 || himds.timeout_seconds == 0 {
        bail!(refuse("himds.timeoutSeconds", 0, "would wait forever").hint("a second is the least"));
    }
    Ok(())
}

/// The host of an `http` or `https` URL without user, query and fragment.
fn check_url<'a>(key: &str, url: &'a str) -> Result<&'a str> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")).unwrap_or_default();
    let authority = rest.split('/').next().unwrap_or_default();
    let host = match authority.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    if host.is_empty() || !url.chars().all(|c| c.is_ascii_alphanumeric() || ":/.-_~[]%".contains(c)) {
        bail!(refuse(key, url, "is no plain http or https URL"));
    }
    Ok(host)
}

fn check_path(key: &str, path: &str) -> Result<()> {
    let is_plain = path.strip_prefix('/').is_some_and(|path| path.parse::<OverlayPath>().is_ok());
    if !is_plain {
        bail!(
            refuse(key, path, "is no absolute path").hint("write it in full, without `.`, `..` and a slash at the end")
        );
    }
    Ok(())
}

fn refuse(key: &str, value: impl Serialize, why: &str) -> Failure {
    Failure::new(Class::Usage, format!("value `{key}`: {} {why}", json!(value)))
}
