//! Kubernetes' errors: a `Status` object.

use serde_json::{Value, json};

use crate::azure::call::{Call, Reply};

pub(super) fn status(code: u16, reason: &str, message: &str) -> Reply {
    let body = json!({
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        "details": Value::Null,
        "code": code,
    });
    Reply::json(code, &body)
}

pub(super) fn not_found(kind: &str, name: &str) -> Reply {
    status(404, "NotFound", &format!("{kind} \"{name}\" not found"))
}

pub(super) fn not_served(call: &Call) -> Reply {
    let message = format!("the server could not find the requested resource ({} {})", call.method, call.path);
    status(404, "NotFound", &message)
}

pub(super) fn not_allowed() -> Reply {
    status(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
}

/// A failure of the API server itself.
pub(in crate::azure) fn unavailable(code: u16) -> Reply {
    let (reason, message) = match code {
        413 => ("RequestEntityTooLarge", "limit is 1048576"),
        429 => ("TooManyRequests", "Too many requests, please try again later."),
        503 => ("ServiceUnavailable", "the server is currently unable to handle the request"),
        504 => ("Timeout", "the request did not complete within the allotted timeout"),
        _ => ("InternalError", "Internal error occurred"),
    };
    status(code, reason, message)
}
