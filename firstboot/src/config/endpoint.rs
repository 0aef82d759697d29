//! An origin: scheme, host and port, and nothing that could carry a secret or a path.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use super::Flaw;
use super::kubernetes::is_dns_subdomain;

/// `http[s]://host[:port]`; host in lower case, IPv6 addresses in brackets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    secure: bool,
    host: String,
    port: Option<u16>,
}

impl Endpoint {
    /// Whether the scheme is https.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// Whether the host is this machine.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        let bare = self.host.trim_start_matches('[').trim_end_matches(']');
        self.host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

impl FromStr for Endpoint {
    type Err = Flaw;

    fn from_str(text: &str) -> Result<Self, Flaw> {
        let flaw =
            |message: &str| Flaw::new(message, "write `https://host` or `https://host:port` and nothing after it");
        let (scheme, rest) = text.split_once("://").ok_or_else(|| flaw("not a URL"))?;
        let secure = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return Err(flaw("neither an http nor an https URL")),
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.contains('@') {
            // Every process may read a proxy's or endpoint's address: a password has no place in it.
            let hint = "remove `user:password@`; whatever is in a URL ends up in logs and process lists";
            return Err(Flaw::new("holds a user name", hint));
        }
        if authority.contains(['/', '?', '#', '\\']) {
            return Err(flaw("holds more than scheme, host and port"));
        }
        let (host, port) = split_port(authority).ok_or_else(|| flaw("has no valid port"))?;
        let host = host.to_ascii_lowercase();
        if is_host(&host) { Ok(Self { secure, host, port }) } else { Err(flaw("has no valid host")) }
    }
}

fn split_port(authority: &str) -> Option<(&str, Option<u16>)> {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => {
            let digits = port.chars().all(|c| c.is_ascii_digit());
            let port = port.parse().ok().filter(|port| digits && *port != 0)?;
            Some((host, Some(port)))
        }
        _ => Some((authority, None)),
    }
}

fn is_host(host: &str) -> bool {
    if let Some(address) = host.strip_prefix('[') {
        return address.strip_suffix(']').is_some_and(|address| address.parse::<Ipv6Addr>().is_ok());
    }
    // A name whose last label is a number is an IPv4 address or nothing (WHATWG URL).
    let ends_in_number = host.rsplit('.').next().is_some_and(|last| last.chars().all(|c| c.is_ascii_digit()));
    if ends_in_number { host.parse::<Ipv4Addr>().is_ok() } else { is_dns_subdomain(host, 253) }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.host)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String, String> {
        text.parse::<Endpoint>().map(|endpoint| endpoint.to_string()).map_err(|flaw| flaw.message)
    }

    #[test]
    fn an_origin_is_read_and_written_alike() {
        for origin in ["https://management.azure.com", "http://[::1]:8443", "https://10.0.0.1", "https://localhost:1"] {
            assert_eq!(read(origin).as_deref(), Ok(origin));
            assert_eq!(read(&format!("{origin}/")).as_deref(), Ok(origin));
        }
        assert_eq!(read("HTTPS://Management.Azure.COM:443").as_deref(), Ok("https://management.azure.com:443"));
    }

    #[test]
    fn whatever_is_more_than_an_origin_is_refused() {
        for (text, message) in [
            ("management.azure.com", "not a URL"),
            ("ftp://a.example", "neither an http nor an https URL"),
            ("https://u:p@a.example", "holds a user name"),
            ("https://a.example/path", "holds more than scheme, host and port"),
            ("https://a.example?x", "holds more than scheme, host and port"),
            ("https://a.example:0", "has no valid port"),
            ("https://a.example:+1", "has no valid port"),
            ("https://a.example:65536", "has no valid port"),
            ("https://::1", "has no valid host"),
            ("https://[::1", "has no valid host"),
            ("https://10.0.0.256", "has no valid host"),
            ("https://a b", "has no valid host"),
            ("https://", "has no valid host"),
        ] {
            assert_eq!(read(text), Err(message.to_owned()), "{text}");
        }
    }

    #[test]
    fn loopback_is_this_machine_alone() {
        let loopback = |text: &str| text.parse::<Endpoint>().unwrap().is_loopback();
        assert!(["http://localhost", "http://127.9.9.9:1", "http://[::1]:2"].into_iter().all(loopback));
        assert!(!["http://localhost.example", "http://10.0.0.1", "http://[::]"].into_iter().any(loopback));
    }
}
