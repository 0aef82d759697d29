//! Two calls of the Container Runtime Interface, with the guest's curl: what a kubelet asks containerd for.
//!
//! A message has two tags here: 2 for a length and bytes, 0 for a number (protobuf's wire format). Field numbers are
//! those of `k8s.io/cri-api/pkg/apis/runtime/v1/api.proto`.

use anyhow::{Context as _, Result, ensure};
use flexnode_vm::node::Guest;

/// What containerd says about an image.
pub(crate) struct Status {
    pub(crate) is_there: bool,
    pub(crate) is_pinned: bool,
}

/// `ImageService.ImageStatus`
pub(crate) fn image_status(guest: &Guest, image: &str) -> Result<Status> {
    let answer = call(guest, "ImageService/ImageStatus", &bytes(1, &bytes(1, image.as_bytes())))?;
    let image = field(&answer, 1)?;
    // Image.pinned = 8
    let is_pinned = image.map_or(Ok(None), |image| number(image, 8))? == Some(1);
    Ok(Status { is_there: image.is_some(), is_pinned })
}

/// `RuntimeService.RunPodSandbox`, of a pod on the host's network; its id.
pub(crate) fn run_pod_sandbox(guest: &Guest) -> Result<String> {
    // PodSandboxMetadata: name, uid, namespace
    let metadata = [bytes(1, b"sandbox"), bytes(2, b"6b1c5d5c"), bytes(3, b"default")].concat();
    // NamespaceOption.network = NODE, inside LinuxSandboxSecurityContext.namespace_options
    let security = bytes(1, &[0x08, 2]);
    // LinuxPodSandboxConfig: cgroup_parent, security_context
    let linux = [bytes(1, b"system.slice"), bytes(2, &security)].concat();
    // PodSandboxConfig: metadata, log_directory, linux
    let config = [bytes(1, &metadata), bytes(3, b"/var/log/pods/sandbox"), bytes(8, &linux)].concat();
    let answer = call(guest, "RuntimeService/RunPodSandbox", &bytes(1, &config))?;
    let id = field(&answer, 1)?.context("the answer has no id")?;
    Ok(String::from_utf8(id.to_vec())?)
}

fn call(guest: &Guest, method: &str, message: &[u8]) -> Result<Vec<u8>> {
    let length = u32::try_from(message.len())?.to_be_bytes();
    let body = [&[0][..], &length, message].concat();
    let escaped: String = body.iter().map(|byte| format!("\\{byte:03o}")).collect();
    let script = "printf \"$1\" | curl --silent --show-error --http2-prior-knowledge --unix-socket \
                  /run/containerd/containerd.sock -H 'content-type: application/grpc' -H 'te: trailers' \
                  --data-binary @- --dump-header /run/cri-headers --output /run/cri-answer \"http://localhost/$2\" \
                  && od -An -v -tx1 /run/cri-answer && cat /run/cri-headers >&2";
    let output = guest.run("sh", &["-c", script, "sh", &escaped, &format!("runtime.v1.{method}")])?;
    let headers = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success() && headers.contains("grpc-status: 0"), "{method}: {headers}");
    let text = String::from_utf8(output.stdout)?;
    let answer: Vec<u8> = text.split_whitespace().map(|byte| u8::from_str_radix(byte, 16)).collect::<Result<_, _>>()?;
    Ok(answer.get(5..).with_context(|| format!("{method} gave no answer: {headers}"))?.to_vec())
}

fn bytes(field: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![field << 3 | 2];
    let mut length = content.len();
    while length > 0x7f {
        out.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend(content);
    out
}

fn field(message: &[u8], wanted: u64) -> Result<Option<&[u8]>> {
    Ok(fields(message)?.into_iter().find_map(|(number, _, content)| (number == wanted).then_some(content)))
}

fn number(message: &[u8], wanted: u64) -> Result<Option<u64>> {
    Ok(fields(message)?.into_iter().find_map(|(number, value, _)| (number == wanted).then_some(value)))
}

/// Number, value and content of each field; a number has no content, and what has content no value.
fn fields(mut message: &[u8]) -> Result<Vec<(u64, u64, &[u8])>> {
    let mut found = Vec::new();
    while !message.is_empty() {
        let tag = varint(&mut message)?;
        let value = varint(&mut message)?;
        match tag & 7 {
            0 => found.push((tag >> 3, value, &[][..])),
            2 => {
                let (content, rest) = message.split_at_checked(usize::try_from(value)?).context("it is cut off")?;
                found.push((tag >> 3, 0, content));
                message = rest;
            }
            other => anyhow::bail!("it has a field of the wire type {other}"),
        }
    }
    Ok(found)
}

fn varint(message: &mut &[u8]) -> Result<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = message.split_first().context("it is cut off")?;
        *message = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    anyhow::bail!("it has a number without an end")
}
