//! The network of one machine: a line to a site that ends there. In the site are the emulated Azure and a DNS server that
//! knows its names; there is no way on, and all that the machine sends is recorded.

mod dns;
mod packet;
mod recorder;
mod traffic;

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use anyhow::{Context as _, Result};

use self::dns::Dns;
use self::recorder::Recorder;
use super::namespace::{Namespace, ip};
use crate::azure::{Addresses, Emulator, World};

pub use self::packet::Sent;
pub use self::traffic::{Entry, Traffic, Verdict};

/// The network; gone when dropped.
#[derive(Debug)]
pub struct Network {
    recorder: Recorder,
    dns: Dns,
    /// Of a machine without a kernel of its own.
    guest: Option<Namespace>,
    site: Namespace,
}

/// The site's end of the line: a tap device for a virtual machine, one end of a veth pair for a container.
pub const LINE: &str = "site0";

/// The machine's address, in a network of 24 bits that documentation uses (RFC 5737).
pub const GUEST: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

/// The site's address: the machine's default route and DNS server.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// The same in IPv6 (RFC 3849), 64 bits: what would go there is to be seen too.
const GUEST6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);

/// The site's address in IPv6.
const GATEWAY6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);

const AZURE: Addresses = Addresses {
    entra: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 10)),
    arm: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 11)),
    kubernetes: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 12)),
};

impl Network {
    /// For a container, which is started in the namespace [`Network::guest`]. `name` makes the namespaces' names, the
    /// record goes to `traffic.pcap` in `folder`.
    ///
    /// # Errors
    /// When iproute2 or tcpdump is missing, or this is not root.
    pub fn veth(name: &str, folder: &Path) -> Result<Self> {
        let (site, guest) = (Namespace::new(&format!("{name}-site"))?, Namespace::new(name)?);
        ip(&["-n", site.name(), "link", "add", LINE, "type", "veth", "peer", "name", "host0", "netns", guest.name()])?;
        let mut network = Self::recorded(site, folder)?;
        let gateway = [GATEWAY.to_string(), GATEWAY6.to_string()];
        ip(&["-n", guest.name(), "address", "add", &format!("{GUEST}/24"), "dev", "host0"])?;
        ip(&["-n", guest.name(), "address", "add", &format!("{GUEST6}/64"), "dev", "host0", "nodad"])?;
        // The record runs already: not even the line's first packet is missed.
        ip(&["-n", guest.name(), "link", "set", "host0", "up"])?;
        ip(&["-n", guest.name(), "route", "add", "default", "via", &gateway[0]])?;
        ip(&["-n", guest.name(), "-6", "route", "add", "default", "via", &gateway[1]])?;
        network.guest = Some(guest);
        Ok(network)
    }

    /// For a virtual machine, which is started in the namespace [`Network::site`] with the tap device [`LINE`], and gives
    /// itself the address [`GUEST`].
    ///
    /// # Errors
    /// As for [`Network::veth`].
    pub fn tap(name: &str, folder: &Path) -> Result<Self> {
        let site = Namespace::new(&format!("{name}-site"))?;
        ip(&["-n", site.name(), "tuntap", "add", "dev", LINE, "mode", "tap"])?;
        Self::recorded(site, folder)
    }

    fn recorded(site: Namespace, folder: &Path) -> Result<Self> {
        site.inside(|| fs::write("/proc/sys/net/ipv4/ip_forward", "0").context("let the site forward nothing"))?;
        for address in [IpAddr::V4(GATEWAY), AZURE.entra, AZURE.arm, AZURE.kubernetes] {
            ip(&["-n", site.name(), "address", "add", &format!("{address}/24"), "dev", LINE])?;
        }
        ip(&["-n", site.name(), "address", "add", &format!("{GATEWAY6}/64"), "dev", LINE, "nodad"])?;
        ip(&["-n", site.name(), "link", "set", LINE, "up"])?;
        let recorder = Recorder::start(&site, &folder.join("traffic.pcap"))?;
        let dns = site.inside(|| Dns::start(SocketAddr::new(GATEWAY.into(), 53)))?;
        Ok(Self { recorder, dns, guest: None, site })
    }

    /// Starts an emulated Azure in the site, and lets its names lead there.
    ///
    /// # Errors
    /// Those of [`Emulator::start_at`].
    pub fn azure(&self, world: World) -> Result<Emulator> {
        let azure = self.site.inside(|| Emulator::start_at(world, AZURE))?;
        for endpoint in azure.endpoints() {
            if let Some(name) = endpoint.name {
                self.dns.lead(&name, endpoint.address);
            }
        }
        Ok(azure)
    }

    /// Where the services are.
    #[must_use]
    pub fn site(&self) -> &Namespace {
        &self.site
    }

    /// Where a container is started.
    #[must_use]
    pub fn guest(&self) -> Option<&Namespace> {
        self.guest.as_ref()
    }

    /// `/etc/resolv.conf` of the machine.
    #[must_use]
    pub fn resolv_conf(&self) -> String {
        format!("nameserver {GATEWAY}\n")
    }

    /// All that the machine has sent until now; it must run.
    ///
    /// # Errors
    /// When the record has a gap, or the machine's kernel does not answer.
    pub fn traffic(&self, azure: &Emulator) -> Result<Traffic> {
        let mut record = self.recorder.until_now(&self.site)?;
        record.extend(self.dns.asked_over_tcp());
        Ok(Traffic::judge(record, &azure.endpoints()))
    }
}
