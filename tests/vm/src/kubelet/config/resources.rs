//! Reserved resources and eviction thresholds.

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Map, Value};

/// Checks names and quantities, as the kubelet does when it starts its container manager.
pub(super) fn check(fields: &Map<String, Value>) -> Result<()> {
    for field in ["kubeReserved", "systemReserved"] {
        for (name, value) in entries(fields, field) {
            ensure!(RESERVABLE.contains(&name.as_str()), "cannot reserve {name:?} resource");
            let amount = quantity(value);
            let amount = amount.with_context(|| format!("failed to parse quantity {value:?} for {name:?} resource"))?;
            ensure!(amount >= 0.0, "resource quantity for {name:?} cannot be negative: {value}");
        }
    }
    for field in ["evictionHard", "evictionSoft", "evictionMinimumReclaim"] {
        for (signal, value) in entries(fields, field) {
            ensure!(SIGNALS.contains(&signal.as_str()), "unsupported eviction signal {signal}");
            if let Some(percentage) = value.strip_suffix('%') {
                let percentage: f64 = percentage.parse().with_context(|| format!("{field}: {signal}: {value:?}"))?;
                ensure!(percentage >= 0.0, "eviction percentage threshold {signal} must be >= 0%: {value}");
                ensure!(percentage < 100.0, "eviction percentage threshold {signal} must be <= 100%: {value}");
            } else {
                let amount = quantity(value).with_context(|| format!("{field}: {signal}: {value:?}"))?;
                ensure!(amount >= 0.0, "eviction threshold {signal} must be positive: {value}");
            }
        }
    }
    let periods = fields.get("evictionSoftGracePeriod").and_then(Value::as_object);
    for (signal, _) in entries(fields, "evictionSoft") {
        let given = periods.is_some_and(|periods| periods.contains_key(signal));
        ensure!(given, "grace period must be specified for the soft eviction threshold {signal}");
    }
    Ok(())
}

const RESERVABLE: [&str; 4] = ["cpu", "memory", "ephemeral-storage", "pid"];

const SIGNALS: [&str; 9] = [
    "memory.available",
    "allocatableMemory.available",
    "nodefs.available",
    "nodefs.inodesFree",
    "imagefs.available",
    "imagefs.inodesFree",
    "containerfs.available",
    "containerfs.inodesFree",
    "pid.available",
];

fn entries<'a>(fields: &'a Map<String, Value>, field: &str) -> impl Iterator<Item = (&'a String, &'a str)> {
    let entries = fields.get(field).and_then(Value::as_object).into_iter().flatten();
    entries.map(|(name, value)| (name, value.as_str().unwrap_or_default()))
}

/// A quantity as Kubernetes writes it: `100Mi`, `200m`, `1e3`.
fn quantity(text: &str) -> Result<f64> {
    let end = text.find(|c: char| !matches!(c, '0'..='9' | '.' | '+' | '-')).unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let refused = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
    let number: f64 = number.parse().context(refused)?;
    let factor = match suffix {
        "n" => 1e-9,
        "u" => 1e-6,
        "m" => 1e-3,
        "" => 1.0,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "E" => 1e18,
        "Ki" => 1024.0,
        "Mi" => 1024.0_f64.powi(2),
        "Gi" => 1024.0_f64.powi(3),
        "Ti" => 1024.0_f64.powi(4),
        "Pi" => 1024.0_f64.powi(5),
        "Ei" => 1024.0_f64.powi(6),
        _ => match suffix.strip_prefix(['e', 'E']).map(str::parse) {
            Some(Ok(exponent)) => 10.0_f64.powi(exponent),
            _ => bail!(refused),
        },
    };
    Ok(number * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_those_of_kubernetes() {
        for (text, amount) in [("100Mi", 104_857_600.0), ("200m", 0.2), ("1e3", 1000.0), ("1.5", 1.5), ("-1", -1.0)] {
            assert!((quantity(text).unwrap() - amount).abs() < 1e-9, "{text}");
        }
        for text in ["", "Mi", "100MB", "100 Mi", "1ee3", "one"] {
            assert!(quantity(text).is_err(), "{text}");
        }
    }
}
