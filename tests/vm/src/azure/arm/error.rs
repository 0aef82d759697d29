//! ARM's error shape.

use serde_json::json;

use crate::azure::call::Reply;

pub(super) fn error(status: u16, code: &str, message: &str) -> Reply {
    Reply::json(status, &json!({"error": {"code": code, "message": message}}))
}

/// A failure of ARM itself.
pub(in crate::azure) fn unavailable(status: u16) -> Reply {
    match status {
        413 => error(413, "RequestContentTooLarge", "The request content size exceeds the limit."),
        429 => error(429, "TooManyRequests", "The request is being throttled. Please retry later."),
        500 => error(500, "InternalServerError", "Encountered internal server error."),
        502 => error(502, "BadGateway", "The gateway did not receive a valid response in time."),
        503 => error(503, "ServiceUnavailable", "The service is temporarily unavailable. Please retry later."),
        504 => error(504, "GatewayTimeout", "The gateway did not receive a response within the specified time period."),
        _ => error(status, "ServerError", "The request failed."),
    }
}

/// The body is there, but cannot be what is asked for.
pub(super) fn malformed(why: &str) -> Reply {
    let message = format!("The request content was invalid and could not be deserialized: '{why}'.");
    error(400, "InvalidRequestContent", &message)
}
