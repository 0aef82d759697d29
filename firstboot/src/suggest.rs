//! "Did you mean": the nearest right name for a wrong one.

/// The candidate nearest to `wrong`, if one is near enough to be what was meant.
pub fn nearest<'a>(wrong: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let folded = fold(wrong);
    candidates
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(&folded, &fold(candidate)), candidate))
        .filter(|(score, _)| *score > 0.75)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate)
}

/// Reads serde's "unknown field" (or "unknown variant") message and names the nearest right one.
///
/// serde offers no structured form of this error; the wording has been stable since 1.0 and is held by a test.
#[must_use]
pub fn hint_for_unknown(message: &str) -> Option<String> {
    let what = if message.contains("unknown variant `") { "variant" } else { "field" };
    let after = message.split_once(&format!("unknown {what} `"))?.1;
    let (wrong, rest) = after.split_once('`')?;
    let candidates: Vec<&str> = rest.split('`').skip(1).step_by(2).collect();
    match nearest(wrong, candidates.iter().copied()) {
        Some(right) => Some(format!("did you mean `{right}` instead of `{wrong}`?")),
        None if candidates.is_empty() => None,
        None => Some(format!("known here: {}", candidates.join(", "))),
    }
}

fn fold(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '-' | '_')).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_miss_is_recognised_and_nonsense_is_not() {
        assert_eq!(nearest("max_pods", ["maxPods", "taints"]), Some("maxPods"));
        assert_eq!(nearest("qqqq", ["maxPods", "taints"]), None);
    }

    #[test]
    fn serde_wording_is_understood() {
        #[derive(Debug, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        #[expect(dead_code, reason = "only its error is of interest")]
        struct Node {
            labels: u8,
            taints: u8,
        }
        let error = serde_json::from_str::<Node>(r#"{"lables":1}"#).expect_err("a key is wrong").to_string();
        assert_eq!(hint_for_unknown(&error).as_deref(), Some("did you mean `labels` instead of `lables`?"));
    }
}
