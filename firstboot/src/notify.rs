//! systemd's notification protocol (`sd_notify(3)`): what `systemctl status` shows while the join runs.

use std::ffi::{OsStr, OsString};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The socket, if systemd gave one.
#[derive(Debug, Default)]
pub struct Notifier(Option<OsString>);

impl Notifier {
    /// Notifies `$NOTIFY_SOCKET`.
    #[must_use]
    pub fn from_environment() -> Self {
        Self(std::env::var_os("NOTIFY_SOCKET"))
    }

    /// Notifies this socket: a path, or `@name` for an abstract one.
    #[must_use]
    pub fn to(socket: OsString) -> Self {
        Self(Some(socket))
    }

    /// `STATUS=`, on one line.
    pub(crate) fn status(&self, text: &str) {
        self.send(&format!("STATUS={}\n", crate::failure::plain(text)));
    }

    /// `READY=1`.
    pub(crate) fn ready(&self) {
        self.send("READY=1\n");
    }

    /// Whether it arrives changes nothing for the join.
    fn send(&self, message: &str) {
        if let (Some(socket), Ok(datagram)) = (&self.0, UnixDatagram::unbound())
            && let Ok(address) = address(socket)
        {
            let _ = datagram.send_to_addr(message.as_bytes(), &address);
        }
    }
}

fn address(socket: &OsStr) -> std::io::Result<SocketAddr> {
    match socket.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(socket),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_arrives_as_one_line() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        Notifier::to(path.into()).status("assigning\nroles");
        let mut buffer = [0; 64];
        let length = socket.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"STATUS=assigning roles\n");
    }
}
