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
/// serde offers no structured form of this error. Its JSON reader quotes the names it expected, our YAML reader does
/// not and adds the place; both wordings are held by tests.
#[must_use]
pub fn hint_for_unknown(message: &str) -> Option<String> {
    let what = if message.contains("unknown variant `") { "variant" } else { "field" };
    let after = message.split_once(&format!("unknown {what} `"))?.1.lines().next()?;
    let (wrong, rest) = after.split_once('`')?;
    let rest = rest.trim_start_matches(',').trim_start();
    let list = rest.strip_prefix("expected one of ").or_else(|| rest.strip_prefix("expected "))?;
    let list = list.split(" at line ").next().unwrap_or(list);
    let candidates: Vec<&str> =
        list.split(", ").flat_map(|part| part.split(" or ")).map(|name| name.trim_matches('`')).collect();
    match nearest(wrong, candidates.iter().copied()) {
        Some(right) => Some(format!("did you mean `{right}` instead of `{wrong}`?")),
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

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only its error is of interest")]
    struct Node {
        labels: u8,
        taints: u8,
        name: u8,
    }

    #[test]
    fn the_wording_of_both_readers_is_understood() {
        let json = serde_json::from_str::<Node>(r#"{"lables":1}"#).expect_err("a key is wrong").to_string();
        let yaml = serde_yaml::from_str::<Node>("lables: 1\n").expect_err("a key is wrong").to_string();
        for message in [json, yaml] {
            let hint = hint_for_unknown(&message);
            assert_eq!(hint.as_deref(), Some("did you mean `labels` instead of `lables`?"), "{message}");
        }
    }

    #[test]
    fn a_name_like_none_of_them_lists_them_all() {
        let yaml = serde_yaml::from_str::<Node>("qqq: 1\n").expect_err("a key is wrong").to_string();
        assert_eq!(hint_for_unknown(&yaml).as_deref(), Some("known here: labels, taints, name"));
    }
}
