//! What an answer must be to become a credential.

use crate::himds::{node_granted, response};

#[test]
fn an_answer_that_is_no_token_is_refused() {
    for body in [
        "",
        "not json",
        "{}",
        "[]",
        r#"{"access_token":"abc"#,
        r#"{"access_token":"abc"}"#,
        r#"{"expires_on":"1893456000"}"#,
        r#"{"access_token":"","expires_on":"1893456000"}"#,
        r#"{"access_token":null,"expires_on":"1893456000"}"#,
        r#"{"access_token":"a b","expires_on":"1893456000"}"#,
        r#"{"access_token":"a\"b","expires_on":"1893456000"}"#,
        r#"{"access_token":"a\u0022b","expires_on":"1893456000"}"#,
        r#"{"access_token":"a\nb","expires_on":"1893456000"}"#,
        r#"{"access_token":"$(id)","expires_on":"1893456000"}"#,
        r#"{"access_token":"abc","expires_on":"soon"}"#,
        r#"{"access_token":"abc","expires_on":"-1"}"#,
        r#"{"access_token":"abc","expires_on":"99999999999999999999"}"#,
        r#"{"access_token":"abc","expires_on":"010"}"#,
        r#"{"x":"\"access_token\":\"abc\"","expires_on":"1893456000"}"#,
    ] {
        let (node, _server) = node_granted(move || response("200 OK", "", body));
        let (status, why) = node.refuses();
        assert_eq!(status, 76, "{body}: {why}");
    }
}

#[test]
fn a_token_is_found_however_the_json_is_laid_out() {
    for body in [
        "{\r\n  \"expires_on\" : 1893456000,\r\n\t\"access_token\" : \"a.b-c_d\"\r\n}\r\n".to_owned(),
        r#"{"a":{"b":[1,{}]},"access_token":"a.b-c_d","c":"}","expires_on":"1893456000"}"#.to_owned(),
    ] {
        let (node, _server) = node_granted(move || response("200 OK", "", &body));
        assert_eq!(node.prints()["status"]["token"], "a.b-c_d");
    }
    let (node, _server) =
        node_granted(|| response("200 OK", "", r#"{"access_token":"a\/b","expires_on":"1893456000"}"#));
    assert_eq!(node.prints()["status"]["token"], "a/b", "JSON may escape a slash");
}

#[test]
fn the_expiry_is_the_right_date() {
    for (seconds, date) in [
        (951_782_400_i64, "2000-02-29T00:00:00Z"),
        (1_709_251_199, "2024-02-29T23:59:59Z"),
        (1_709_251_200, "2024-03-01T00:00:00Z"),
        (1_798_761_599, "2026-12-31T23:59:59Z"),
        (1_798_761_600, "2027-01-01T00:00:00Z"),
        (4_107_542_400, "2100-03-01T00:00:00Z"),
        (4_107_542_399, "2100-02-28T23:59:59Z"),
    ] {
        let body = format!(r#"{{"access_token":"abc","expires_on":"{seconds}"}}"#);
        let (node, _server) = node_granted(move || response("200 OK", "", &body));
        assert_eq!(node.prints()["status"]["expirationTimestamp"], date, "{seconds}");
    }
}
