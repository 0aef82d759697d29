//! Durations in Go's syntax: `300ms`, `-1.5h`, `2h45m`.

use anyhow::{Context as _, Result, ensure};

/// In seconds.
pub(super) fn parse(text: &str) -> Result<f64> {
    let refused = || format!("time: invalid duration {text:?}");
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(0.0);
    }
    ensure!(!rest.is_empty(), refused());
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let number: f64 = rest[..end].parse().with_context(refused)?;
        rest = &rest[end..];
        let end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let unit = &rest[..end];
        ensure!(!unit.is_empty(), "time: missing unit in duration {text:?}");
        seconds += number
            * match unit {
                "ns" => 1e-9,
                "us" | "µs" | "μs" => 1e-6,
                "ms" => 1e-3,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                _ => anyhow::bail!("time: unknown unit {unit:?} in duration {text:?}"),
            };
        rest = &rest[end..];
    }
    Ok(sign * seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_those_of_go() {
        for (text, seconds) in [("300ms", 0.3), ("-1.5h", -5400.0), ("2h45m", 9900.0), ("0", 0.0), ("1m0s", 60.0)] {
            assert!((parse(text).unwrap() - seconds).abs() < 1e-9, "{text}");
        }
        for text in ["", "5", "s", "5 s", "5d", "1h-5m", "1..5s"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
