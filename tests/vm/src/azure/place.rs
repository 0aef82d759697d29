//! Where the services listen, and by what names: what a firewall in front of a node would have to let through.

use std::net::{IpAddr, Ipv4Addr};

use super::Emulator;

/// The address of each service.
#[derive(Debug, Clone, Copy)]
pub struct Addresses {
    /// Entra ID.
    pub entra: IpAddr,
    /// Azure Resource Manager.
    pub arm: IpAddr,
    /// The API servers.
    pub kubernetes: IpAddr,
}

/// A service, as a node meets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The name to resolve, where it has one.
    pub name: Option<String>,
    /// Where it listens.
    pub address: IpAddr,
    /// Its TCP port.
    pub port: u16,
}

impl Addresses {
    pub(super) const LOOPBACK: Self = Self {
        entra: IpAddr::V4(Ipv4Addr::LOCALHOST),
        arm: IpAddr::V4(Ipv4Addr::LOCALHOST),
        kubernetes: IpAddr::V4(Ipv4Addr::LOCALHOST),
    };
}

/// A named service on an address of its own has Azure's port; on loopback, behind a proxy, any.
pub(super) fn port_of(host: Option<&str>, address: IpAddr, wanted: u16) -> u16 {
    if host.is_some() && !address.is_loopback() { 443 } else { wanted }
}

impl Emulator {
    /// Entra ID, ARM and the API servers; HIMDS is the machine's own.
    #[must_use]
    pub fn endpoints(&self) -> Vec<Endpoint> {
        let places = self.places.iter().map(|(place, address)| {
            let host = place.rsplit_once(':').map_or(place.as_str(), |(host, _)| host);
            let name = host.parse::<IpAddr>().is_err().then(|| host.to_owned());
            Endpoint { name, address: address.ip(), port: address.port() }
        });
        let mut endpoints: Vec<Endpoint> = places.collect();
        endpoints.sort_by_key(|endpoint| (endpoint.address, endpoint.port));
        endpoints
    }
}
