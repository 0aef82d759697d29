//! Says what bytes look like that are not what they were taken for.

/// How many leading bytes are worth looking at.
pub(super) const HEAD: usize = 512;

/// Completes the sentence "this is no program: …".
pub(super) fn describe(head: &[u8]) -> String {
    const KNOWN: [(&[u8], &str); 11] = [
        (b"\x7fELF", "it is an ELF file"),
        (b"\x1f\x8b", "it is gzip data"),
        (b"\x28\xb5\x2f\xfd", "it is zstd data"),
        (b"\xfd7zXZ\0", "it is xz data"),
        (b"BZh", "it is bzip2 data"),
        (b"PK\x03\x04", "it is a zip archive"),
        (b"!<arch>\n", "it is an ar archive, as Debian packages are"),
        (b"MZ", "it is a Windows program"),
        (b"\xcf\xfa\xed\xfe", "it is a macOS program"),
        (b"\xca\xfe\xba\xbe", "it is a macOS program"),
        (b"#!", "it is a script"),
    ];
    if head.is_empty() {
        return "it is empty".to_owned();
    }
    if let Some((_, what)) = KNOWN.iter().find(|(magic, _)| head.starts_with(magic)) {
        return (*what).to_owned();
    }
    if head.get(257..262) == Some(b"ustar") {
        return "it is a tar archive".to_owned();
    }
    let text = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start();
    let opening = text[..text.len().min(16)].to_ascii_lowercase();
    let what = if opening.starts_with(b"<!doctype html") || opening.starts_with(b"<html") {
        "it looks like an HTML page"
    } else if opening.starts_with(b"<") {
        "it looks like an XML document"
    } else if opening.starts_with(b"{") || opening.starts_with(b"[") {
        "it looks like JSON"
    } else if head.iter().all(|b| matches!(b, b'\t' | b'\n' | b'\r' | 0x20..=0x7e)) {
        "it looks like text"
    } else {
        return format!("it begins with the bytes {}", hex::encode(&head[..head.len().min(8)]));
    };
    let quote: String = String::from_utf8_lossy(text).split_whitespace().collect::<Vec<_>>().join(" ");
    format!("{what}, `{}`", quote.escape_debug().take(60).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::describe;

    #[test]
    fn error_pages_are_recognised_and_quoted() {
        let page = b"<?xml version='1.0'?>\n<Error><Code>NoSuchKey</Code></Error>";
        assert_eq!(
            describe(page),
            "it looks like an XML document, `<?xml version='1.0'?> <Error><Code>NoSuchKey</Code></Error>`"
        );
        assert!(describe(b"\n <!DOCTYPE HTML><title>404</title>").starts_with("it looks like an HTML page"));
        assert_eq!(describe(b"Not Found"), "it looks like text, `Not Found`");
        assert_eq!(describe(b""), "it is empty");
        assert_eq!(describe(&[0xff; 9]), "it begins with the bytes ffffffffffffffff");
    }
}
