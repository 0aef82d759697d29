//! Firewalls that are known to cut nodes off.

use anyhow::Result;

use super::Check;

pub(super) fn check(check: &mut Check<'_>) -> Result<()> {
    let ufw = check.text("etc/ufw/ufw.conf")?.unwrap_or_default();
    if ufw.lines().any(|line| line.trim().eq_ignore_ascii_case("ENABLED=yes")) {
        let cure = check.shell.run("ufw disable");
        let message = "ufw is enabled: it drops what is forwarded to pods, and the API server's calls to port 10250";
        check.warning("firewall", message, format!("{cure}; or allow forwarding and port 10250"));
    }
    if check.is_enabled("firewalld.service")? {
        let cure = check.shell.run("systemctl disable firewalld");
        let message =
            "firewalld is enabled: it drops what is forwarded to pods, and the API server's calls to port 10250";
        check.warning("firewall", message, format!("{cure}; or allow forwarding and port 10250"));
    }
    Ok(())
}
