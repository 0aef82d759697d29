//! The kubelet's command line, as far as the bundle's unit and the agent use it. Any other flag is refused, as the real
//! one refuses those that it does not know.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

#[derive(Debug, Default)]
pub(super) struct Flags {
    pub(super) config: PathBuf,
    pub(super) kubeconfig: PathBuf,
    pub(super) labels: String,
    pub(super) name: Option<String>,
    pub(super) taints: String,
}

impl Flags {
    /// `--name=value` and `--name value`, as Go's pflag takes them.
    pub(super) fn read(arguments: &[String]) -> Result<Self> {
        let mut flags = Self::default();
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let Some(flag) = argument.strip_prefix("--") else { bail!("unknown command {argument:?}") };
            let (name, value) = match flag.split_once('=') {
                Some((name, value)) => (name, value.to_owned()),
                None => (flag, rest.next().with_context(|| format!("flag needs an argument: --{flag}"))?.clone()),
            };
            match name {
                "config" => flags.config = value.into(),
                "kubeconfig" => flags.kubeconfig = value.into(),
                "node-labels" => flags.labels = value,
                "hostname-override" => flags.name = Some(value),
                "register-with-taints" => flags.taints = value,
                "node-ip" | "cluster-dns" => {
                    for address in value.split(',') {
                        let parsed: Result<std::net::IpAddr, _> = address.parse();
                        parsed.with_context(|| format!("invalid argument {value:?} for --{name}"))?;
                    }
                }
                "max-pods" => {
                    let parsed: Result<i32, _> = value.parse();
                    parsed.with_context(|| format!("invalid argument {value:?} for --{name}"))?;
                }
                _ => bail!("unknown flag: --{name}"),
            }
        }
        Ok(flags)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Flags> {
        Flags::read(&line.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn what_the_unit_passes_is_taken_and_all_else_is_fatal() {
        let flags =
            read("--config=/c --kubeconfig /k --node-labels=a=b,c=d --hostname-override=n --max-pods=30").unwrap();
        assert_eq!((flags.labels.as_str(), flags.name.as_deref()), ("a=b,c=d", Some("n")));
        for fatal in ["--container-runtime=remote", "--max-pods=many", "--node-ip=edge", "--config", "run"] {
            assert!(read(fatal).is_err(), "{fatal}");
        }
    }
}
