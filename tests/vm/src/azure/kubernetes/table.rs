//! Nodes as a client wants them: plain, or as the table that kubectl prints.

use std::time::Duration;

use serde_json::{Value, json};

use super::node::is_ready;
use crate::azure::call::{Call, Reply};

pub(super) fn list(call: &Call, kind: &str, items: Vec<Value>, now: Duration) -> Reply {
    if wants_table(call) {
        return table(items, now);
    }
    Reply::json(200, &json!({"kind": kind, "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": items}))
}

pub(super) fn one(call: &Call, item: Value, now: Duration) -> Reply {
    if wants_table(call) { table(vec![item], now) } else { Reply::json(200, &item) }
}

fn wants_table(call: &Call) -> bool {
    call.header("accept").is_some_and(|accept| accept.contains("as=Table") && accept.contains("v=v1;"))
}

fn table(items: Vec<Value>, now: Duration) -> Reply {
    let column = |name: &str| json!({"name": name, "type": "string", "format": "", "description": "", "priority": 0});
    let rows: Vec<Value> = items
        .into_iter()
        .map(|node| {
            let status = if is_ready(&node) { "Ready" } else { "NotReady" };
            let version = node["status"]["nodeInfo"]["kubeletVersion"].as_str().unwrap_or_default().to_owned();
            let cells = json!([node["metadata"]["name"], status, "<none>", age(&node, now), version]);
            let metadata = &node["metadata"];
            let object = json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata});
            json!({"cells": cells, "object": object})
        })
        .collect();
    let columns = ["Name", "Status", "Roles", "Age", "Version"].map(column);
    let body = json!({
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {"resourceVersion": "1"},
        "columnDefinitions": columns,
        "rows": rows,
    });
    Reply::json(200, &body)
}

/// Seconds, as kubectl writes them for what is young.
fn age(node: &Value, now: Duration) -> String {
    let created = node["metadata"]["creationTimestamp"].as_str().and_then(|time| time.parse::<jiff::Timestamp>().ok());
    let created = created.and_then(|time| u64::try_from(time.as_second()).ok());
    created.map_or_else(|| "<unknown>".to_owned(), |created| format!("{}s", now.as_secs().saturating_sub(created)))
}
