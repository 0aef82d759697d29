//! The record of all that a machine puts on its line: tcpdump's, kept as it is and read at the same time.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader, ErrorKind, Read, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use pcap_parser::traits::PcapReaderIterator as _;
use pcap_parser::{LegacyPcapReader, PcapBlockOwned, PcapError};
use rustix::process::{Pid, Signal, kill_process};

use super::packet::{Sent, is_refusal, sent};
use super::{GUEST, LINE};
use crate::node::Namespace;

/// A running record. Dropping it ends it.
#[derive(Debug)]
pub(super) struct Recorder {
    tcpdump: Child,
    /// What tcpdump says.
    said: Mutex<Receiver<String>>,
    record: Arc<Record>,
}

/// The same thing, sent once or more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) sent: Sent,
    /// The first time, since 1970.
    pub(super) first: Duration,
    pub(super) count: u32,
}

#[derive(Debug, Default)]
struct Record {
    state: Mutex<State>,
    grown: Condvar,
}

#[derive(Debug, Default)]
struct State {
    seen: BTreeMap<Sent, (Duration, u32)>,
    refusals: usize,
    /// Why there is no more.
    ended: Option<String>,
}

/// For what takes milliseconds, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// tcpmux (RFC 1078), which nobody has.
const NOBODYS_PORT: u16 = 1;

impl Recorder {
    /// Starts to record what comes into `site`, in a file for tcpdump, Wireshark and the like.
    pub(super) fn start(site: &Namespace, file: &Path) -> Result<Self> {
        let file = File::create(file).with_context(|| format!("create `{}`", file.display()))?;
        let mut tcpdump = Command::new("nsenter")
            .arg(format!("--net={}", site.path().display()))
            // Whole packets, at once, towards the site only.
            .args([
                "tcpdump",
                "-n",
                "-i",
                LINE,
                "-Q",
                "in",
                "-s",
                "0",
                "-U",
                "--immediate-mode",
                "-B",
                "16384",
                "-w",
                "-",
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("run nsenter, of util-linux")?;
        let (packets, words) = (tcpdump.stdout.take(), tcpdump.stderr.take());
        let said = Mutex::new(listen(words.context("hear tcpdump")?));
        let record = Arc::<Record>::default();
        let recorder = Self { tcpdump, said, record: Arc::clone(&record) };
        recorder.hear("listening on").context("start the record with tcpdump")?;
        let packets = Copied { from: packets.context("read from tcpdump")?, to: file };
        thread::spawn(move || record.fill(packets));
        Ok(recorder)
    }

    /// All that was sent until now. The machine is asked to answer something: what it sent before that is in the record
    /// when the answer is.
    pub(super) fn until_now(&self, site: &Namespace) -> Result<Vec<Seen>> {
        let before = self.record.state().refusals;
        let answer = site.inside(|| Ok(TcpStream::connect_timeout(&(GUEST, NOBODYS_PORT).into(), PATIENCE)))?;
        match answer {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
            Err(error) => return Err(error).context("ask the machine's kernel for an answer"),
            Ok(_) => bail!("somebody listens on port {NOBODYS_PORT} of the machine"),
        }
        let waits = |state: &mut State| state.refusals == before && state.ended.is_none();
        let state = self.record.grown.wait_timeout_while(self.record.state(), PATIENCE, waits);
        let (state, _) = state.unwrap_or_else(PoisonError::into_inner);
        if let Some(why) = &state.ended {
            bail!("the record of packets has ended: {why}");
        }
        ensure!(state.refusals > before, "the record of packets lags behind");
        let seen = state.seen.iter().map(|(sent, &(first, count))| Seen { sent: sent.clone(), first, count }).collect();
        drop(state);
        self.is_whole()?;
        Ok(seen)
    }

    /// tcpdump tells its counts on this signal; a record with a gap proves nothing.
    fn is_whole(&self) -> Result<()> {
        let id = i32::try_from(self.tcpdump.id()).ok().and_then(Pid::from_raw).context("tcpdump has no process id")?;
        kill_process(id, Signal::USR1).context("ask tcpdump for its counts")?;
        let counts = self.hear("dropped by kernel")?;
        ensure!(counts.contains(" 0 packets dropped by kernel"), "the record of packets has a gap: {counts}");
        Ok(())
    }

    /// tcpdump's next line with these words.
    fn hear(&self, words: &str) -> Result<String> {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let mut last = String::new();
        loop {
            let Ok(line) = said.recv_timeout(PATIENCE) else { bail!("tcpdump does not say `{words}`, but `{last}`") };
            if line.contains(words) {
                return Ok(line);
            }
            last = line;
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.tcpdump.kill();
        let _ = self.tcpdump.wait();
    }
}

fn listen(words: ChildStderr) -> Receiver<String> {
    let (tell, told) = channel();
    thread::spawn(move || BufReader::new(words).lines().map_while(Result::ok).try_for_each(|line| tell.send(line)));
    told
}

impl Seen {
    pub(super) fn once(first: Duration, sent: Sent) -> Self {
        Self { sent, first, count: 1 }
    }
}

impl Record {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fill(&self, packets: Copied) {
        let why = self.read(packets).map_or_else(|error| format!("{error:#}"), |()| "tcpdump has ended".to_owned());
        self.state().ended = Some(why);
        self.grown.notify_all();
    }

    fn read(&self, packets: Copied) -> Result<()> {
        // More than the largest packet.
        let mut reader = LegacyPcapReader::new(1 << 20, packets).map_err(|error| anyhow::anyhow!("{error}"))?;
        loop {
            match reader.next() {
                Ok((length, block)) => {
                    if let PcapBlockOwned::Legacy(packet) = block {
                        let at = Duration::new(packet.ts_sec.into(), packet.ts_usec.saturating_mul(1000));
                        self.add(at, packet.data);
                    }
                    reader.consume(length);
                }
                Err(PcapError::Incomplete(_)) => {
                    reader.refill().map_err(|error| anyhow::anyhow!("{error}")).context("read from tcpdump")?;
                }
                Err(PcapError::Eof) => return Ok(()),
                Err(error) => bail!("read from tcpdump: {error}"),
            }
        }
    }

    fn add(&self, at: Duration, frame: &[u8]) {
        let mut state = self.state();
        state.refusals += usize::from(is_refusal(frame, NOBODYS_PORT));
        for sent in sent(frame) {
            state.seen.entry(sent).or_insert((at, 0)).1 += 1;
        }
        drop(state);
        self.grown.notify_all();
    }
}

/// tcpdump's output, which also goes to the file.
struct Copied {
    from: ChildStdout,
    to: File,
}

impl Read for Copied {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let length = self.from.read(into)?;
        self.to.write_all(&into[..length])?;
        Ok(length)
    }
}
