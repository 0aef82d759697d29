//! One packet of the machine: what it tries with it.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use etherparse::{Icmpv4Type, Icmpv6Type, NetSlice, SlicedPacket, TransportSlice};
use serde::Serialize;
use simple_dns::{Packet, PacketFlag};

/// What a machine tries.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "kind")]
pub enum Sent {
    /// Asks a DNS server.
    Question {
        /// The name asked for, without the final dot.
        name: String,
        /// `A`, `AAAA`, …
        record: String,
        /// Who is asked.
        server: IpAddr,
    },
    /// Opens a TCP connection.
    Connection {
        /// Whom to.
        to: SocketAddr,
    },
    /// Sends a UDP datagram that is no question to a DNS server.
    Datagram {
        /// Whom to.
        to: SocketAddr,
    },
    /// Sends anything else over IP, a ping for example.
    Other {
        /// Whom to.
        to: IpAddr,
        /// The protocol's number (IANA): 1 is ICMP.
        protocol: u8,
    },
    /// Asks and tells its neighbours on the line, which no router passes on: kernels do.
    Neighbours {
        /// The protocol, and what of it.
        what: &'static str,
    },
    /// A packet that cannot be read, or is no IP.
    Unreadable,
}

/// What a frame that the machine put on the line is about, in words of this list. Empty for the rest of a connection
/// that its first packet has told of.
pub(super) fn sent(frame: &[u8]) -> Vec<Sent> {
    let Ok(packet) = SlicedPacket::from_ethernet(frame) else { return vec![Sent::Unreadable] };
    let (to, protocol) = match &packet.net {
        Some(NetSlice::Ipv4(ip)) => (IpAddr::V4(ip.header().destination_addr()), ip.payload().ip_number),
        Some(NetSlice::Ipv6(ip)) => (IpAddr::V6(ip.header().destination_addr()), ip.payload().ip_number),
        Some(NetSlice::Arp(_)) => return vec![Sent::Neighbours { what: "ARP" }],
        None => return vec![Sent::Unreadable],
    };
    let other = Sent::Other { to, protocol: protocol.0 };
    match &packet.transport {
        Some(TransportSlice::Tcp(tcp)) if tcp.syn() && !tcp.ack() => {
            vec![Sent::Connection { to: SocketAddr::new(to, tcp.destination_port()) }]
        }
        Some(TransportSlice::Tcp(_)) => vec![],
        Some(TransportSlice::Udp(udp)) => {
            let questions = if udp.destination_port() == 53 { question(udp.payload(), to) } else { vec![] };
            if questions.is_empty() {
                return vec![Sent::Datagram { to: SocketAddr::new(to, udp.destination_port()) }];
            }
            questions
        }
        Some(TransportSlice::Icmpv4(icmp)) => match icmp.icmp_type() {
            Icmpv4Type::DestinationUnreachable(_) => vec![Sent::Neighbours { what: "ICMP, nobody takes this" }],
            _ => vec![other],
        },
        Some(TransportSlice::Icmpv6(icmp)) => match icmp.icmp_type() {
            Icmpv6Type::DestinationUnreachable(_) => vec![Sent::Neighbours { what: "ICMPv6, nobody takes this" }],
            // By their numbers (RFC 4861, RFC 2710, RFC 3810).
            _ => match icmp.type_u8() {
                131 | 132 | 143 => vec![Sent::Neighbours { what: "MLD, listens to a group" }],
                133 => vec![Sent::Neighbours { what: "NDP, looks for a router" }],
                135 | 136 => vec![Sent::Neighbours { what: "NDP, asks or tells an address" }],
                _ => vec![other],
            },
        },
        Some(TransportSlice::Igmp(_)) => vec![Sent::Neighbours { what: "IGMP, listens to a group" }],
        None => vec![other],
    }
}

/// A reset of the connection to a port that nobody has: the machine's kernel is there.
pub(super) fn is_refusal(frame: &[u8], from: u16) -> bool {
    let Ok(packet) = SlicedPacket::from_ethernet(frame) else { return false };
    matches!(packet.transport, Some(TransportSlice::Tcp(tcp)) if tcp.rst() && tcp.source_port() == from)
}

/// The questions of a DNS message.
pub(super) fn question(message: &[u8], server: IpAddr) -> Vec<Sent> {
    let Ok(packet) = Packet::parse(message) else { return vec![] };
    if packet.has_flags(PacketFlag::RESPONSE) {
        return vec![];
    }
    let questions = packet.questions.iter().map(|question| Sent::Question {
        name: question.qname.to_string().to_ascii_lowercase(),
        record: record(&format!("{:?}", question.qtype)),
        server,
    });
    questions.collect()
}

/// `TYPE(A)` is the library's word for `A`.
fn record(debug: &str) -> String {
    debug.strip_prefix("TYPE(").and_then(|name| name.strip_suffix(')')).unwrap_or(debug).to_owned()
}

impl fmt::Display for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // What a machine asks for may hold anything; a terminal gets letters.
            Self::Question { name, record, server } => write!(f, "DNS {record:<5} {} of {server}", name.escape_debug()),
            Self::Connection { to } => write!(f, "TCP       {to}"),
            Self::Datagram { to } => match purpose(to.port()) {
                Some(purpose) => write!(f, "UDP       {to} ({purpose})"),
                None => write!(f, "UDP       {to}"),
            },
            Self::Other { to, protocol: 1 | 58 } => write!(f, "ICMP      {to}"),
            Self::Other { to, protocol } => write!(f, "IP {protocol:<6} {to}"),
            Self::Neighbours { what } => write!(f, "neighbours ({what})"),
            Self::Unreadable => write!(f, "a packet that cannot be read"),
        }
    }
}

/// What a UDP port is for, as far as systems have the habit.
fn purpose(port: u16) -> Option<&'static str> {
    Some(match port {
        53 => "to a DNS server, and no question",
        67 | 547 => "DHCP",
        123 => "NTP",
        443 => "QUIC",
        514 => "syslog",
        1900 => "SSDP",
        5353 => "mDNS",
        5355 => "LLMNR",
        _ => return None,
    })
}
