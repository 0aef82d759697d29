//! The line to a virtual machine's agent: a program and its arguments go in, its end and its output come out.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitStatus, Output};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

/// One request at a time.
#[derive(Debug)]
pub(super) struct Line<W>(Mutex<Ends<W>>);

#[derive(Debug)]
struct Ends<W> {
    requests: W,
    answers: Receiver<String>,
}

impl<W: Write> Line<W> {
    /// A line over these two, once the agent has said that it is there.
    pub(super) fn open(requests: W, answers: impl Read + Send + 'static, patience: Duration) -> Result<Self> {
        let (tell, told) = mpsc::channel();
        // Ends with what it reads.
        std::thread::spawn(move || {
            for line in BufReader::new(answers).lines().map_while(Result::ok) {
                if tell.send(line).is_err() {
                    break;
                }
            }
        });
        let first = told.recv_timeout(patience).context("wait for the guest's systemd")?;
        ensure!(first == "up", "the guest's agent says {first:?}");
        Ok(Self(Mutex::new(Ends { requests, answers: told })))
    }

    pub(super) fn run(&self, program: &str, arguments: &[&str]) -> Result<Output> {
        let mut ends = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let words: String = [program].iter().chain(arguments).map(|word| format!("{word}\0")).collect();
        writeln!(ends.requests, "{}", BASE64.encode(words)).context("ask the guest's agent")?;
        ends.requests.flush().context("ask the guest's agent")?;
        let answer = ends.answers.recv().context("wait for the guest's agent: the guest has ended")?;
        parse(&answer).with_context(|| format!("read the agent's answer {answer:?}"))
    }
}

fn parse(answer: &str) -> Result<Output> {
    let mut words = answer.split(' ');
    let mut word = |letter| words.next().and_then(|word| word.strip_prefix(letter)).context("find a part");
    let code: i32 = word('s')?.parse().context("read the status")?;
    let (stdout, stderr) = (BASE64.decode(word('o')?)?, BASE64.decode(word('e')?)?);
    Ok(Output { status: ExitStatus::from_raw(code << 8), stdout, stderr })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_keeps_every_byte_and_the_status() {
        let output = parse("s7 oAAr/ e").unwrap();
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(7), [0, 10, 255].as_slice()));
        assert!(output.stderr.is_empty());
        for bad in ["", "s7", "s7 oAAr/", "sx o e", "s7 o* e"] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_agent_that_never_comes_is_an_error() {
        assert!(Line::open(Vec::new(), &b""[..], Duration::from_secs(60)).is_err());
    }
}
