//! One packet of the machine: what it tries with it.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use etherparse::{Icmpv4Type, NetSlice, SlicedPacket, TransportSlice};
use serde::Serialize;
use simple_dns::{Packet, PacketFlag};

use super::{GATEWAY, GATEWAY6};

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
            Icmpv4Type::DestinationUnreachable(_) if stays(to) => {
                vec![Sent::Neighbours { what: "ICMP, nobody takes this" }]
            }
            _ => vec![other],
        },
        // By their numbers (RFC 4443, RFC 4861, RFC 2710, RFC 3810).
        Some(TransportSlice::Icmpv6(icmp)) if stays(to) => match icmp.type_u8() {
            1 => vec![Sent::Neighbours { what: "ICMPv6, nobody takes this" }],
            131 | 132 | 143 => vec![Sent::Neighbours { what: "MLD, listens to a group" }],
            133 => vec![Sent::Neighbours { what: "NDP, looks for a router" }],
            135 | 136 => vec![Sent::Neighbours { what: "NDP, asks or tells an address" }],
            _ => vec![other],
        },
        Some(TransportSlice::Icmpv6(_)) => vec![other],
        Some(TransportSlice::Igmp(_)) if to.is_multicast() => {
            vec![Sent::Neighbours { what: "IGMP, listens to a group" }]
        }
        Some(TransportSlice::Igmp(_)) => vec![other],
        None => vec![other],
    }
}

/// Whether this address is the line's own.
fn stays(to: IpAddr) -> bool {
    match to {
        IpAddr::V4(to) => to == GATEWAY,
        // Groups of the line, addresses of the line.
        IpAddr::V6(to) => to.segments()[0] == 0xff02 || to.is_unicast_link_local() || to == GATEWAY6,
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

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};
    use proptest::{collection::vec, prelude::prop_assert};

    use super::*;

    // What a Linux 6 sent on such a line, as tcpdump recorded it.
    const SYN: &str = "fac09141011a2e3ac5ccc91b08004500003ccc6d400040067042c0000202cb00710993a401bb08620bef00000000a002faf0fe3a0000020405b40402080a84b9da9b000000000103030a";
    const NTP: &str = "fac09141011a2e3ac5ccc91b08004500004c525640004011ea40c0000202cb007107dfb4007b0038fe531b0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000";
    const DNS: &str = "3298ae98bcdf1e5a4ad986ba080045000047a3e14000401112c1c0000202c0000201a8fe003500338448123401000001000000000000056c6f67696e0f6d6963726f736f66746f6e6c696e6503636f6d0000010001";
    const MDNS: &str = "01005e0000fb1e5a4ad986ba0800450000477228400001116480c0000202e00000fbe32914e90033a342123401000001000000000000056c6f67696e0f6d6963726f736f66746f6e6c696e6503636f6d0000010001";
    const PING: &str = "fac09141011a2e3ac5ccc91b08004500001c296140004001137cc0000202cb0071010800f7ff00000000";
    const ARP: &str = "ffffffffffff2e3ac5ccc91b080600010800060400012e3ac5ccc91bc0000202000000000000c000020a";
    const ROUTER: &str = "3333000000022e3ac5ccc91b86dd6000000000103afffe800000000000002c3ac5fffeccc91bff020000000000000000000000000002850004e90000000001012e3ac5ccc91b";
    const GROUP: &str = "3333000000162e3ac5ccc91b86dd600000000024000100000000000000000000000000000000ff0200000000000000000000000000163a000502000001008f006f880000000104000000ff0200000000000000000001ff000002";

    fn said(frame: &[u8]) -> String {
        sent(frame).iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn each_packet_of_a_real_kernel_is_told_for_what_it_is() {
        let expected = [
            (SYN, "TCP       203.0.113.9:443"),
            (NTP, "UDP       203.0.113.7:123 (NTP)"),
            (DNS, "DNS A     login.microsoftonline.com of 192.0.2.1"),
            (MDNS, "UDP       224.0.0.251:5353 (mDNS)"),
            (PING, "ICMP      203.0.113.1"),
            (ARP, "neighbours (ARP)"),
            (ROUTER, "neighbours (NDP, looks for a router)"),
            (GROUP, "neighbours (MLD, listens to a group)"),
        ];
        for (frame, words) in expected {
            assert_eq!(said(&hex(frame)), words);
        }
    }

    #[test]
    fn the_answer_to_a_connection_and_its_data_are_no_attempts_of_their_own() {
        for flags in [0x12, 0x10, 0x14] {
            let mut frame = hex(SYN);
            frame[47] = flags;
            assert_eq!(sent(&frame), [], "{flags:#x}");
        }
    }

    #[test]
    fn what_only_looks_like_the_lines_own_is_not_taken_for_it() {
        // A question for a router, to an address of somebody far away.
        let mut frame = hex(ROUTER);
        frame[38..54].copy_from_slice(&[0x20, 1, 0xd, 0xb8, 9, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9]);
        assert_eq!(said(&frame), "ICMP      2001:db8:909::9");
        // An answer in the place of a question.
        let mut frame = hex(DNS);
        frame[44] |= 0x80;
        assert_eq!(said(&frame), "UDP       192.0.2.1:53 (to a DNS server, and no question)");
        // A piece of a packet, without its ports.
        let mut frame = hex(SYN);
        frame[20] = 0x20;
        assert_eq!(said(&frame), "IP 6      203.0.113.9");
        assert_eq!(said(&hex(SYN)[..40]), "a packet that cannot be read");
        assert_eq!(said(b""), "a packet that cannot be read");
    }

    proptest! {
        #[test]
        fn hostile_packets_are_survived(bytes in vec(any::<u8>(), 0..200)) {
            said(&bytes);
            is_refusal(&bytes, 1);
            question(&bytes, GATEWAY.into());
        }

        #[test]
        fn a_real_packet_that_was_bent_is_survived(which in 0..8usize, at in any::<usize>(), byte in any::<u8>()) {
            let mut frame = hex([SYN, NTP, DNS, MDNS, PING, ARP, ROUTER, GROUP][which]);
            let at = at % frame.len();
            frame[at] = byte;
            said(&frame);
        }

        /// A terminal is told no more than a name.
        #[test]
        fn a_name_with_any_bytes_in_it_is_told_in_letters(at in 55..75usize, byte in 0..32u8) {
            let mut frame = hex(DNS);
            frame[at] = byte;
            let words = said(&frame);
            prop_assert!(!words.chars().any(char::is_control), "{words:?}");
        }
    }

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    }
}
