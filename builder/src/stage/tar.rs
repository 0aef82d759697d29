//! Reads tar archives more strictly than any tool unpacks them: whatever two readers could take differently is refused.
//!
//! The `tar` crate is not used for reading: it allocates what a long-name header claims, stops a pax header at an empty
//! line, takes a negative size for a huge one, and does not look behind the first block of zeros.

use std::io::{self, Read};

use anyhow::Result;

use super::archive::{read_failure, refuse, refuse_archive};

const BLOCK: usize = 512;

/// More than any honest long name or pax header needs; Linux ends paths at 4 KiB.
const EXTENSION_LIMIT: u64 = 64 << 10;

/// What an archive says about one member. Nothing of it is trusted yet.
#[derive(Debug)]
pub(super) struct Member {
    /// The name as stored, with prefix, GNU long name or pax path applied.
    pub(super) name: Vec<u8>,
    pub(super) kind: MemberKind,
    /// Length of the content; zero for all but files.
    pub(super) size: u64,
    /// Permission, setuid, setgid and sticky bits.
    pub(super) mode: u64,
    /// Every user and group id that is given: that of the header, and that of a pax record.
    pub(super) owners: Vec<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum MemberKind {
    File,
    Directory,
    Symlink { target: Vec<u8> },
    Hardlink { target: Vec<u8> },
}

/// An archive that is read once, from front to back.
#[derive(Debug)]
pub(super) struct TarReader<R> {
    input: R,
    /// Bytes of the current member's content that nobody has read yet.
    left: u64,
    /// Bytes that fill its last block.
    padding: u64,
    entries: u64,
    entry_limit: u64,
}

impl<R: Read> TarReader<R> {
    /// `entry_limit` counts every header, those that only describe other headers included.
    pub(super) fn new(input: R, entry_limit: u64) -> Self {
        Self { input, left: 0, padding: 0, entries: 0, entry_limit }
    }

    /// The next member, or `None` once the whole input was read and is a well-formed archive to its last byte.
    ///
    /// What is left of the current member's content is skipped.
    pub(super) fn next_member(&mut self) -> Result<Option<Member>> {
        let mut extensions = Extensions::default();
        loop {
            self.skip_content()?;
            let Some(header) = self.next_header()? else {
                if !extensions.is_empty() {
                    return Err(refuse_archive("ends with a header that describes a member which does not follow"));
                }
                self.expect_only_zeros()?;
                return Ok(None);
            };
            let size = header.number(124..136, "size")?;
            match header.0[156] {
                b'L' => set(&mut extensions.name, self.long_name(size)?)?,
                b'K' => set(&mut extensions.link, self.long_name(size)?)?,
                b'x' => {
                    let records = self.extension(size)?;
                    set(&mut extensions.pax, Pax::parse(&records)?)?;
                }
                // Such as git's commit id. It must not change what the members are.
                b'g' => {
                    let records = self.extension(size)?;
                    if !Pax::parse(&records)?.is_empty() {
                        return Err(refuse_archive("has a global pax header that sets names, sizes or owners"));
                    }
                }
                kind => return self.member(&header, kind, size, extensions).map(Some),
            }
        }
    }

    /// Reads the current member's content; `Ok(0)` is its end, an archive that ends before it is an error.
    pub(super) fn read_content(&mut self, buf: &mut [u8]) -> Result<usize> {
        let want = buf.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if want == 0 {
            return Ok(0);
        }
        let n = read(&mut self.input, &mut buf[..want])?;
        if n == 0 {
            return Err(truncated());
        }
        self.left -= n as u64;
        Ok(n)
    }

    fn member(&mut self, header: &Header, kind: u8, size: u64, extensions: Extensions) -> Result<Member> {
        let pax = extensions.pax.unwrap_or_default();
        let name = one_of(extensions.name, pax.path)?.unwrap_or_else(|| header.name());
        let link = one_of(extensions.link, pax.linkpath)?.unwrap_or_else(|| field(&header.0[157..257]).to_vec());
        let shown = show(&name);
        let kind = match kind {
            b'0' | b'\0' => MemberKind::File,
            b'1' => MemberKind::Hardlink { target: link },
            b'2' => MemberKind::Symlink { target: link },
            b'3' | b'4' => return Err(refuse(format!("member `{shown}` is a device"))),
            b'5' => MemberKind::Directory,
            b'6' => return Err(refuse(format!("member `{shown}` is a named pipe"))),
            b'S' => return Err(refuse(format!("member `{shown}` is a sparse file"))),
            other => {
                let kind = char::from(other).escape_default();
                return Err(refuse(format!("member `{shown}` is of the unusual type `{kind}`")));
            }
        };
        if pax.is_sparse {
            return Err(refuse(format!("member `{shown}` is a sparse file")));
        }
        // A second size is only needed from 8 GiB on, far beyond the limit; before, it is there to mislead some readers.
        if pax.size.is_some_and(|pax| pax != size) {
            return Err(refuse(format!("member `{shown}` has two sizes")));
        }
        // Some readers skip the content of a link or directory, others take it for the next header.
        if kind != MemberKind::File && size != 0 {
            return Err(refuse(format!("member `{shown}` is no file and yet has content")));
        }
        let mut owners = vec![header.number(108..116, "user id")?, header.number(116..124, "group id")?];
        owners.extend(pax.uid);
        owners.extend(pax.gid);
        self.enter(size);
        Ok(Member { name, kind, size, mode: header.number(100..108, "mode")? & 0o7777, owners })
    }

    /// The next header, or `None` at the two blocks of zeros that end an archive.
    fn next_header(&mut self) -> Result<Option<Header>> {
        let mut header = Header([0; BLOCK]);
        read_exact(&mut self.input, &mut header.0)?;
        if header.0 == [0; BLOCK] {
            read_exact(&mut self.input, &mut header.0)?;
            if header.0 != [0; BLOCK] {
                return Err(refuse_archive("has a stray block of zeros, behind which some readers stop"));
            }
            return Ok(None);
        }
        self.entries += 1;
        if self.entries > self.entry_limit {
            return Err(refuse_archive(format!("has more than {} members", self.entry_limit)));
        }
        header.verify()?;
        Ok(Some(header))
    }

    fn enter(&mut self, size: u64) {
        self.left = size;
        self.padding = size.wrapping_neg() % BLOCK as u64;
    }

    fn skip_content(&mut self) -> Result<()> {
        let mut buf = [0; 16 << 10];
        while self.read_content(&mut buf)? > 0 {}
        let padding = usize::try_from(std::mem::take(&mut self.padding)).unwrap_or(0);
        read_exact(&mut self.input, &mut buf[..padding])
    }

    fn extension(&mut self, size: u64) -> Result<Vec<u8>> {
        if size > EXTENSION_LIMIT {
            return Err(refuse_archive(format!("has a header extension of {size} bytes, more than {EXTENSION_LIMIT}")));
        }
        self.enter(size);
        let mut bytes = vec![0; usize::try_from(size)?];
        let mut filled = 0;
        while filled < bytes.len() {
            filled += self.read_content(&mut bytes[filled..])?;
        }
        Ok(bytes)
    }

    fn long_name(&mut self, size: u64) -> Result<Vec<u8>> {
        let mut name = self.extension(size)?;
        if name.last() == Some(&0) {
            name.pop();
        }
        Ok(name)
    }

    /// Archives are padded to a record with zeros. Anything else is a second archive or a hiding place.
    fn expect_only_zeros(&mut self) -> Result<()> {
        let mut buf = [0; 16 << 10];
        loop {
            match read(&mut self.input, &mut buf)? {
                0 => return Ok(()),
                n if buf[..n].iter().any(|b| *b != 0) => return Err(refuse_archive("has data behind its end")),
                _ => {}
            }
        }
    }
}

/// What the headers before a member's own say about it.
#[derive(Debug, Default)]
struct Extensions {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    pax: Option<Pax>,
}

impl Extensions {
    fn is_empty(&self) -> bool {
        self.name.is_none() && self.link.is_none() && self.pax.is_none()
    }
}

fn set<T>(slot: &mut Option<T>, value: T) -> Result<()> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(refuse_archive("has two headers that describe the same member")),
    }
}

fn one_of(gnu: Option<Vec<u8>>, pax: Option<Vec<u8>>) -> Result<Option<Vec<u8>>> {
    match (gnu, pax) {
        (Some(gnu), Some(_)) => Err(refuse_archive(format!("gives member `{}` two names", show(&gnu)))),
        (gnu, pax) => Ok(gnu.or(pax)),
    }
}

/// The pax records that matter: POSIX.1-2017, pax, "pax Header Block". Times, comments and attributes are not restored.
#[derive(Debug, Default, PartialEq, Eq)]
struct Pax {
    path: Option<Vec<u8>>,
    linkpath: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u64>,
    gid: Option<u64>,
    is_sparse: bool,
}

impl Pax {
    /// Reads `<length> <key>=<value>\n` records; the length counts all of it.
    fn parse(mut records: &[u8]) -> Result<Self> {
        let malformed = || refuse_archive("has a malformed pax header");
        let mut pax = Self::default();
        while !records.is_empty() {
            let digits = records.iter().take_while(|b| b.is_ascii_digit()).count();
            let length = decimal(&records[..digits]).map_err(|_not_a_length| malformed())?;
            let length = usize::try_from(length)?;
            let record = records.get(..length).ok_or_else(malformed)?;
            let body = record.get(digits..).and_then(|rest| rest.strip_prefix(b" ")?.strip_suffix(b"\n"));
            let body = body.ok_or_else(malformed)?;
            let equals = body.iter().position(|b| *b == b'=').ok_or_else(malformed)?;
            pax.apply(&body[..equals], &body[equals + 1..])?;
            records = &records[length..];
        }
        Ok(pax)
    }

    fn apply(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        match key {
            b"path" => set(&mut self.path, value.to_vec()),
            b"linkpath" => set(&mut self.linkpath, value.to_vec()),
            b"size" => set(&mut self.size, decimal(value)?),
            b"uid" => set(&mut self.uid, decimal(value)?),
            b"gid" => set(&mut self.gid, decimal(value)?),
            _ => {
                self.is_sparse |= key.starts_with(b"GNU.sparse.");
                Ok(())
            }
        }
    }

    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

fn decimal(value: &[u8]) -> Result<u64> {
    let text = std::str::from_utf8(value).unwrap_or_default();
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match text.parse() {
        Ok(number) if digits => Ok(number),
        _ => Err(refuse_archive(format!("has the pax number `{}`", show(value)))),
    }
}

/// One block that describes a member. Offsets: POSIX.1-2017, pax, "ustar Interchange Format".
#[derive(Debug)]
struct Header([u8; BLOCK]);

impl Header {
    fn verify(&self) -> Result<()> {
        // The checksum counts its own field as spaces.
        let sum = self.0[..148].iter().chain(&self.0[156..]).map(|b| u64::from(*b)).sum::<u64>() + 8 * 32;
        match self.number(148..156, "checksum") {
            Ok(stated) if stated == sum => Ok(()),
            _ => Err(refuse_archive("has a header with a wrong checksum")),
        }
    }

    fn name(&self) -> Vec<u8> {
        let name = field(&self.0[..100]);
        // GNU's own format (`ustar  `) keeps times where POSIX keeps the prefix.
        let prefix = if &self.0[257..263] == b"ustar\0" { field(&self.0[345..500]) } else { b"" };
        if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() }
    }

    /// A number in octal, or in GNU's base 256 where the first bit is set.
    fn number(&self, at: std::ops::Range<usize>, what: &str) -> Result<u64> {
        let bytes = &self.0[at];
        let shown = || show(field(&self.0[..100]));
        if bytes[0] & 0x80 != 0 {
            if bytes[0] & 0x40 != 0 {
                return Err(refuse(format!("member `{}` has a negative {what}", shown())));
            }
            let mut number = u64::from(bytes[0] & 0x3f);
            for byte in &bytes[1..] {
                if number >> 56 != 0 {
                    return Err(refuse(format!("member `{}` has an impossible {what}", shown())));
                }
                number = number << 8 | u64::from(*byte);
            }
            return Ok(number);
        }
        let digits = field(bytes).trim_ascii();
        if digits.iter().any(|b| !(b'0'..=b'7').contains(b)) {
            return Err(refuse(format!("member `{}` has the {what} `{}`", shown(), show(digits))));
        }
        // At most twelve octal digits: 36 bits.
        Ok(digits.iter().fold(0, |number, digit| number << 3 | u64::from(digit - b'0')))
    }
}

/// A field up to its first NUL.
fn field(bytes: &[u8]) -> &[u8] {
    bytes.split(|b| *b == 0).next().unwrap_or_default()
}

/// A name for messages: printable and short.
pub(super) fn show(name: &[u8]) -> String {
    String::from_utf8_lossy(name).escape_debug().take(120).collect()
}

fn read(input: &mut impl Read, buf: &mut [u8]) -> Result<usize> {
    loop {
        match input.read(buf) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result.map_err(read_failure),
        }
    }
}

fn read_exact(input: &mut impl Read, buf: &mut [u8]) -> Result<()> {
    input.read_exact(buf).map_err(read_failure)
}

fn truncated() -> anyhow::Error {
    read_failure(io::ErrorKind::UnexpectedEof.into())
}
