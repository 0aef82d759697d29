//! Which kubelet fits which API server (kubernetes.io, "Version Skew Policy").

use crate::failure::{Exit, Failure};

/// Refuses a kubelet of a newer minor than the API server, or more than three older (two for those before 1.25).
///
/// # Errors
/// When it does not fit, or a version is none.
pub fn check(kubelet: &str, server: &str) -> Result<(), Failure> {
    let kubelet_minor = minor(kubelet)?;
    let server_minor = minor(server)?;
    let reach = if kubelet_minor >= 25 { 3 } else { 2 };
    let message = format!("the kubelet {kubelet} does not fit the API server {server}");
    if kubelet_minor > server_minor {
        let hint =
            format!("build the bundle with `--k8s 1.{server_minor}`, or upgrade the cluster first: `az aks upgrade`");
        return Err(Failure::new(Exit::BadConfig, format!("{message}: it must not be newer"), hint));
    }
    if kubelet_minor + reach < server_minor {
        let hint = format!("build the bundle with `--k8s 1.{server_minor}`");
        return Err(Failure::new(Exit::BadConfig, format!("{message}: it is too old"), hint));
    }
    Ok(())
}

/// The minor of `v1.30.4-more`.
fn minor(version: &str) -> Result<u32, Failure> {
    let mut parts = version.trim().trim_start_matches('v').split('.');
    let parsed = match (parts.next(), parts.next().map(str::parse)) {
        (Some("1"), Some(Ok(minor))) => Some(minor),
        _ => None,
    };
    parsed.ok_or_else(|| {
        let hint = "see `kubelet --version` and `kubectl version`";
        Failure::new(Exit::Local, format!("{version:?} is no version of Kubernetes"), hint)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_as_a_table() {
        for (kubelet, server, fits) in [
            ("v1.30.4", "v1.30.0", true),
            ("v1.30.0", "v1.33.9-aks1", true),
            ("v1.29.9", "v1.33.0", false),
            ("v1.31.0", "v1.30.9", false),
            ("v1.25.0", "v1.28.0", true),
            ("v1.24.0", "v1.28.0", false),
            ("v1.25.0", "v1.27.0", true),
            ("v1.24.0", "v1.27.0", false),
            ("v1.9.0", "v1.10.0", true),
            ("1.30", "v1.30.1+k3s", true),
        ] {
            assert_eq!(check(kubelet, server).is_ok(), fits, "{kubelet} {server}");
        }
    }

    #[test]
    fn what_is_no_version_is_said() {
        for odd in ["", "v2.0.0", "v1", "v1.x.0", "latest"] {
            assert_eq!(check(odd, "v1.30.0").expect_err(odd).exit(), Exit::Local);
        }
    }
}
