//! The kubelet's command line, read as Go's pflag reads it: what the minor does not know is fatal.

mod known;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Map, Value, json};

use self::known::{Flag, Takes};
use super::{duration, label, taint};

/// What was given, in its order; of a flag that is given twice the later counts, but for `--node-labels`, which adds up.
#[derive(Debug, Default)]
pub(super) struct Flags {
    given: Vec<(&'static Flag, String)>,
}

impl Flags {
    /// Reads arguments as 1.`minor` does.
    pub(super) fn read(arguments: &[String], minor: u64) -> Result<Self> {
        let flags = Self::parse(arguments, minor).context("failed to parse kubelet flag")?;
        label::check(&flags.labels()?)?;
        Ok(flags)
    }

    fn parse(arguments: &[String], minor: u64) -> Result<Self> {
        let mut flags = Self::default();
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let Some(flag) = argument.strip_prefix("--").or_else(|| (argument == "-v").then_some("v")) else {
                bail!("unknown command {argument}");
            };
            let (name, value) = match flag.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (flag, None),
            };
            // Kubernetes takes `_` in a flag's name for `-`.
            let name = name.replace('_', "-");
            let known = known::find(&name, minor).with_context(|| format!("unknown flag: --{name}"))?;
            let value = match value {
                Some(value) => value.to_owned(),
                None if known.takes == Takes::Bool => "true".to_owned(),
                None => rest.next().with_context(|| format!("flag needs an argument: --{name}"))?.clone(),
            };
            check(known, &value).with_context(|| format!("invalid argument {value:?} for \"--{name}\" flag"))?;
            flags.given.push((known, value));
        }
        Ok(flags)
    }

    /// A flag's value, or nothing.
    pub(super) fn text(&self, name: &str) -> &str {
        self.given.iter().rev().find(|(flag, _)| flag.name == name).map(|(_, value)| value.as_str()).unwrap_or_default()
    }

    /// `--node-labels`
    pub(super) fn labels(&self) -> Result<Vec<(String, String)>> {
        let given = self.given.iter().filter(|(flag, _)| flag.name == "node-labels");
        given.map(|(_, value)| pairs(value)).collect::<Result<Vec<_>>>().map(|all| all.concat())
    }

    /// The fields of the configuration that flags override.
    pub(super) fn fields(&self) -> Result<Map<String, Value>> {
        let mut fields = Map::new();
        for (flag, value) in &self.given {
            if let Some(field) = flag.field {
                fields.insert(field.to_owned(), typed(flag.takes, value)?);
            }
        }
        Ok(fields)
    }
}

fn check(flag: &Flag, value: &str) -> Result<()> {
    typed(flag.takes, value)?;
    if flag.name == "node-ip" {
        // The real one logs what is no address and goes on without it; no agent of ours should ever write such.
        for address in value.split(',') {
            address.parse::<std::net::IpAddr>().context("could not parse node IP")?;
        }
    }
    Ok(())
}

fn typed(takes: Takes, value: &str) -> Result<Value> {
    let number =
        || value.parse::<i64>().with_context(|| format!("strconv.ParseInt: parsing {value:?}: invalid syntax"));
    let parts = || value.split(',').filter(|part| !part.is_empty());
    Ok(match takes {
        Takes::Address => {
            value.parse::<std::net::IpAddr>().with_context(|| format!("failed to parse IP: {value:?}"))?;
            json!(value)
        }
        Takes::Bool => match value {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => json!(true),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => json!(false),
            _ => bail!("strconv.ParseBool: parsing {value:?}: invalid syntax"),
        },
        Takes::Duration => {
            duration::parse(value)?;
            json!(value)
        }
        Takes::Int32 => {
            let fits = i32::try_from(number()?);
            json!(fits.with_context(|| format!("strconv.ParseInt: parsing {value:?}: value out of range"))?)
        }
        Takes::Int64 => json!(number()?),
        Takes::List => json!(parts().collect::<Vec<_>>()),
        Takes::Pairs => pairs(value)?.into_iter().map(|(key, value)| (key, json!(value))).collect::<Map<_, _>>().into(),
        Takes::Taints => json!(parts().map(taint::parse).collect::<Result<Vec<_>>>()?),
        Takes::Text => json!(value),
    })
}

fn pairs(text: &str) -> Result<Vec<(String, String)>> {
    let mut pairs = Vec::new();
    for pair in text.split(',').filter(|pair| !pair.is_empty()) {
        let (key, value) =
            pair.split_once('=').with_context(|| format!("malformed pair, expect string=string, got {pair:?}"))?;
        ensure!(!key.trim().is_empty(), "malformed pair, expect string=string, got {pair:?}");
        pairs.push((key.trim().to_owned(), value.trim().to_owned()));
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str, minor: u64) -> Result<Flags> {
        Flags::read(&line.split(' ').map(str::to_owned).collect::<Vec<_>>(), minor)
    }

    fn refusal(line: &str, minor: u64) -> String {
        format!("{:#}", read(line, minor).unwrap_err())
    }

    #[test]
    fn what_the_unit_and_the_agent_pass_is_taken_by_every_minor() {
        let line = "--config=/c --kubeconfig /k --node-labels=a=b,c=d --hostname-override=n --max-pods=30 \
                    --node-ip=10.0.0.4,fd00::4 --cluster-dns=10.0.0.10 --register-with-taints=edge=true:NoSchedule";
        for minor in 28..=37 {
            let flags = read(line, minor).unwrap();
            assert_eq!(flags.labels().unwrap().len(), 2);
            let fields = flags.fields().unwrap();
            assert_eq!(fields["maxPods"], 30);
            assert_eq!(fields["registerWithTaints"][0]["effect"], "NoSchedule");
        }
    }

    #[test]
    fn a_flag_of_another_minor_is_fatal() {
        for (line, known, unknown) in [
            ("--pod-infra-container-image=pause", 34, 35),
            ("--register-schedulable=false", 33, 34),
            ("--azure-container-registry-config=/x", 29, 30),
            ("--fail-cgroupv1=false", 31, 30),
        ] {
            assert!(read(line, known).is_ok(), "{line} {known}");
            assert!(refusal(line, unknown).starts_with("failed to parse kubelet flag: unknown flag: --"), "{line}");
        }
        assert_eq!(
            refusal("--container-runtime=remote", 28),
            "failed to parse kubelet flag: unknown flag: --container-runtime"
        );
    }

    #[test]
    fn mistakes_are_fatal_in_the_words_of_the_real_one() {
        for (line, words) in [
            ("--max-pods=many", "invalid argument \"many\" for \"--max-pods\" flag: strconv.ParseInt"),
            ("--max-pods=4000000000", "value out of range"),
            ("--node-ip=edge", "could not parse node IP"),
            ("--config", "flag needs an argument: --config"),
            ("run", "unknown command run"),
            ("--fail-swap-on=no", "strconv.ParseBool"),
            ("--sync-frequency=5", "time: missing unit in duration"),
            ("--node-labels=edge", "malformed pair"),
            ("--node-labels=node-role.kubernetes.io/edge=", "unknown 'kubernetes.io' or 'k8s.io' labels"),
            ("--register-with-taints=edge", "invalid taint spec: edge"),
            ("--register-with-taints=edge:Never", "invalid taint spec"),
        ] {
            assert!(refusal(line, 30).contains(words), "{line}: {}", refusal(line, 30));
        }
    }

    #[test]
    fn a_switch_takes_no_word_after_it() {
        let flags = read("--fail_swap_on --max-pods 5", 30).unwrap();
        let fields = flags.fields().unwrap();
        assert_eq!((&fields["failSwapOn"], &fields["maxPods"]), (&json!(true), &json!(5)));
    }
}
