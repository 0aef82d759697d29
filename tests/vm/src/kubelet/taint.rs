//! Taints, as they are registered.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

/// Of `key=value:effect` or `key:effect`.
pub(super) fn parse(text: &str) -> Result<Value> {
    let (pair, effect) = text.rsplit_once(':').with_context(|| format!("invalid taint spec: {text}"))?;
    let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
    let taint = json!({"key": key, "value": value, "effect": effect});
    ensure!(is_valid(&taint), "invalid taint spec: {text}");
    Ok(taint)
}

/// Whether an API server would take it.
pub(super) fn is_valid(taint: &Value) -> bool {
    let text = |name: &str| taint[name].as_str().unwrap_or_default();
    let effects = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
    super::label::is_key(text("key")) && super::label::is_value(text("value")) && effects.contains(&text("effect"))
}
