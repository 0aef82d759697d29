//! The site's DNS server: a few names, and for all others the word that they do not exist.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use anyhow::{Context as _, Result};
use simple_dns::rdata::{A, AAAA, RData};
use simple_dns::{CLASS, Packet, PacketFlag, QTYPE, RCODE, ResourceRecord, TYPE};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::runtime::Runtime;

use super::packet::question;
use super::recorder::Seen;

/// The server; ends when dropped.
#[derive(Debug)]
pub(super) struct Dns {
    site: Arc<Site>,
    runtime: Option<Runtime>,
}

#[derive(Debug)]
struct Site {
    server: IpAddr,
    names: Mutex<BTreeMap<String, IpAddr>>,
    /// Questions in a stream, which a record of packets does not show as such.
    asked: Mutex<Vec<Seen>>,
}

impl Dns {
    /// Listens at `at`, in the namespace that the calling thread is in.
    pub(super) fn start(at: SocketAddr) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .context("start a thread for DNS")?;
        let datagrams = std::net::UdpSocket::bind(at).context("listen for DNS over UDP")?;
        let streams = std::net::TcpListener::bind(at).context("listen for DNS over TCP")?;
        datagrams.set_nonblocking(true).context("prepare the port for DNS")?;
        streams.set_nonblocking(true).context("prepare the port for DNS")?;
        let inside = runtime.enter();
        let datagrams = UdpSocket::from_std(datagrams).context("listen for DNS over UDP")?;
        let streams = TcpListener::from_std(streams).context("listen for DNS over TCP")?;
        drop(inside);
        let site = Arc::new(Site { server: at.ip(), names: Mutex::default(), asked: Mutex::default() });
        runtime.spawn(answer_datagrams(datagrams, Arc::clone(&site)));
        runtime.spawn(answer_streams(streams, Arc::clone(&site)));
        Ok(Self { site, runtime: Some(runtime) })
    }

    /// From now on `name` is at `address`.
    pub(super) fn lead(&self, name: &str, address: IpAddr) {
        lock(&self.site.names).insert(name.to_ascii_lowercase(), address);
    }

    pub(super) fn asked_over_tcp(&self) -> Vec<Seen> {
        lock(&self.site.asked).clone()
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn answer_datagrams(socket: UdpSocket, site: Arc<Site>) {
    let mut message = [0; 4096];
    loop {
        // An error here is an earlier answer that nobody wanted any more.
        let Ok((length, from)) = socket.recv_from(&mut message).await else { continue };
        if let Some(answer) = site.answer(&message[..length]) {
            let _ = socket.send_to(&answer, from).await;
        }
    }
}

async fn answer_streams(listener: TcpListener, site: Arc<Site>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(answer_stream(stream, Arc::clone(&site)));
    }
}

/// Messages that follow their length (RFC 1035, section 4.2.2).
async fn answer_stream(mut stream: TcpStream, site: Arc<Site>) -> std::io::Result<()> {
    loop {
        let mut message = vec![0; usize::from(stream.read_u16().await?)];
        stream.read_exact(&mut message).await?;
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        lock(&site.asked).extend(question(&message, site.server).into_iter().map(|sent| Seen::once(now, sent)));
        let Some(answer) = site.answer(&message) else { return Ok(()) };
        let length = u16::try_from(answer.len()).map_err(std::io::Error::other)?;
        stream.write_u16(length).await?;
        stream.write_all(&answer).await?;
    }
}

impl Site {
    /// None for what is no question.
    fn answer(&self, message: &[u8]) -> Option<Vec<u8>> {
        let asked = Packet::parse(message).ok().filter(|asked| !asked.has_flags(PacketFlag::RESPONSE))?;
        let question = asked.questions.first()?;
        let address = lock(&self.names).get(&question.qname.to_string().to_ascii_lowercase()).copied();
        let mut answer = Packet::new_reply(asked.id());
        answer.set_flags(PacketFlag::AUTHORITATIVE_ANSWER | PacketFlag::RECURSION_AVAILABLE);
        if asked.has_flags(PacketFlag::RECURSION_DESIRED) {
            answer.set_flags(PacketFlag::RECURSION_DESIRED);
        }
        answer.questions.push(question.clone());
        let data = match (address, question.qtype) {
            (Some(IpAddr::V4(address)), QTYPE::TYPE(TYPE::A)) => Some(RData::A(A::from(address))),
            (Some(IpAddr::V6(address)), QTYPE::TYPE(TYPE::AAAA)) => Some(RData::AAAA(AAAA::from(address))),
            // The name is there, and has nothing of this kind.
            (Some(_), _) => None,
            (None, _) => {
                *answer.rcode_mut() = RCODE::NameError;
                None
            }
        };
        answer.answers.extend(data.map(|data| ResourceRecord::new(question.qname.clone(), CLASS::IN, 60, data)));
        answer.build_bytes_vec().ok()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{Ipv4Addr, TcpStream, UdpSocket};

    use simple_dns::{Name, QCLASS, Question};

    use super::*;
    use crate::node::network::packet::Sent;

    fn ask(name: &str, kind: TYPE) -> Vec<u8> {
        let mut packet = Packet::new_query(7);
        packet.questions.push(Question::new(Name::new(name).unwrap(), kind.into(), QCLASS::CLASS(CLASS::IN), false));
        packet.build_bytes_vec().unwrap()
    }

    /// How the answer to a datagram ends, and how many addresses it has.
    fn answer(server: SocketAddr, question: &[u8]) -> (RCODE, usize) {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.send_to(question, server).unwrap();
        let mut answer = [0; 512];
        let length = socket.recv(&mut answer).unwrap();
        let answer = Packet::parse(&answer[..length]).unwrap();
        assert_eq!((answer.id(), answer.questions.len()), (7, 1));
        (answer.rcode(), answer.answers.len())
    }

    #[test]
    fn a_name_leads_to_its_address_and_every_other_does_not_exist() {
        let at = SocketAddr::from((Ipv4Addr::new(127, 0, 53, 1), 5300));
        let dns = Dns::start(at).unwrap();
        dns.lead("Login.example", Ipv4Addr::new(192, 0, 2, 10).into());
        assert_eq!(answer(at, &ask("login.EXAMPLE", TYPE::A)), (RCODE::NoError, 1));
        assert_eq!(answer(at, &ask("login.example", TYPE::AAAA)), (RCODE::NoError, 0));
        assert_eq!(answer(at, &ask("example", TYPE::A)), (RCODE::NameError, 0));
        assert_eq!(answer(at, &ask("x.login.example", TYPE::TXT)), (RCODE::NameError, 0));
    }

    #[test]
    fn a_question_in_a_stream_is_answered_and_kept_for_the_list() {
        let at = SocketAddr::from((Ipv4Addr::new(127, 0, 53, 2), 5300));
        let dns = Dns::start(at).unwrap();
        let mut stream = TcpStream::connect(at).unwrap();
        let question = ask("telemetry.example", TYPE::TXT);
        stream.write_all(&u16::try_from(question.len()).unwrap().to_be_bytes()).unwrap();
        stream.write_all(&question).unwrap();
        let mut length = [0; 2];
        stream.read_exact(&mut length).unwrap();
        let mut answer = vec![0; u16::from_be_bytes(length).into()];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(Packet::parse(&answer).unwrap().rcode(), RCODE::NameError);
        let asked: Vec<Sent> = dns.asked_over_tcp().into_iter().map(|seen| seen.sent).collect();
        let (name, record) = ("telemetry.example".to_owned(), "TXT".to_owned());
        assert_eq!(asked, [Sent::Question { name, record, server: at.ip() }]);
    }
}
