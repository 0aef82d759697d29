//! Laws that hold for any input.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use flexnode_firstboot::config::resource_id::{ClusterId, Scope};
use flexnode_firstboot::config::{Fragment, Settings};
use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};
use proptest::sample::select;

/// Config-like text: pieces that mean something to YAML or to the schema, in any order.
fn scraps() -> impl Strategy<Value = String> {
    let pieces = [
        "azure:",
        "node:",
        "rbac:",
        "roles:",
        "labels:",
        "taints:",
        "targetCluster:",
        "resourceId:",
        "servicePrincipal:",
        "clientSecret:",
        "maxPods:",
        "networking:",
        "name:",
        "\n",
        "\n  ",
        "\n    ",
        " ",
        "- ",
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "'",
        "|",
        ">",
        "&a",
        "*a",
        "!x",
        "!!int",
        "<<:",
        "~",
        "no",
        "1.30",
        "0644",
        "0x1f",
        ".nan",
        "---",
        "...",
        "#",
        "%",
        "\t",
        "\u{feff}",
        "\0",
        "é",
        "a=b:NoSchedule",
    ];
    let piece = prop_oneof![select(pieces.to_vec()).prop_map(str::to_owned), any::<String>()];
    vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

fn group() -> impl Strategy<Value = String> {
    "[A-Za-z0-9ÄßЖ中_().-]{0,89}[A-Za-z0-9ÄßЖ中_()-]"
}

fn cluster() -> impl Strategy<Value = String> {
    "[A-Za-z0-9]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?"
}

/// `text` with each letter's case as the bits say, over and over.
fn recased(text: &str, upper: &[bool]) -> String {
    let flip = |(c, upper): (char, &bool)| if *upper { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() };
    text.chars().zip(upper.iter().cycle()).map(flip).collect()
}

proptest! {
    // Failures are printed with their minimal input; a test worth keeping is written out, not seeded.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_resource_id_is_read_in_any_case_and_written_canonically(
        guid in "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
        group in group(),
        name in cluster(),
        upper in vec(any::<bool>(), 1..20),
    ) {
        let written = recased("/subscriptions/", &upper) + &recased(&guid, &upper)
            + &recased("/resourceGroups/", &upper) + &group
            + &recased("/providers/Microsoft.ContainerService/managedClusters/", &upper) + &name;
        let id: ClusterId = written.parse().unwrap();
        prop_assert_eq!(&id.name, &name);
        prop_assert_eq!(id.resource_group.to_string(), group);
        prop_assert_eq!(id.subscription.to_string(), guid);
        prop_assert_eq!(id.to_string().parse::<ClusterId>().unwrap(), id.clone());
        prop_assert!(id.to_string().eq_ignore_ascii_case(&written));
        prop_assert!(written.parse::<Scope>().is_ok(), "a cluster is a scope");
    }

    #[test]
    fn a_resource_id_with_one_character_more_or_less_at_a_border_is_refused(at in 0..9_usize, cut in any::<bool>()) {
        let good = "/subscriptions/44654aed-2753-4b88-9142-af7132933b6b/resourceGroups/rg/providers/Microsoft.ContainerService/managedClusters/c";
        let mut segments: Vec<String> = good.split('/').map(str::to_owned).collect();
        // The names of group and cluster may be longer; a slash in them may not be.
        if cut && !matches!(at, 0 | 4 | 8) { segments[at].pop(); } else { segments[at].push('/'); }
        prop_assert!(segments.join("/").parse::<ClusterId>().is_err());
    }

    #[test]
    fn no_text_makes_a_parser_panic(text in prop_oneof![any::<String>(), scraps()]) {
        drop(text.parse::<ClusterId>());
        drop(text.parse::<Scope>());
        drop(text.parse::<flexnode_firstboot::config::endpoint::Endpoint>());
        drop(text.parse::<flexnode_firstboot::config::kubernetes::Taint>());
        drop(text.parse::<flexnode_firstboot::config::kubernetes::NodeIp>());
        if let Ok(fragment) = Fragment::parse(&text, "any") {
            // Nothing but the whole of a sound config passes, and no scrap is one.
            let problems = Settings::from_fragments([fragment]).expect_err("no cluster is named");
            prop_assert!(!problems.list().is_empty());
            prop_assert!(problems.list().iter().all(|problem| !problem.flaw.hint.is_empty()));
        }
    }

    #[test]
    fn a_secret_is_never_printed(
        secret in "canary-[!-~]{1,30}",
        template in select(vec![
            "azure:\n  servicePrincipal:\n    clientSecret: SECRET\n",
            "azure: {servicePrincipal: {clientSecret: SECRET, clientSecretFile: /x, unknown: 1}}",
            "azure: {servicePrincipal: {clientSecret:SECRET}}",
            "azure: {servicePrincipal: {clientId: SECRET, tenantId: SECRET, clientSecretFile: SECRET}}",
            "azure: {servicePrincipal: {clientSecret: [SECRET]}}",
            "azure: {servicePrincipal: {clientSecret: {value: SECRET}}}",
            "azure: {servicePrincipal: SECRET}",
            "azure: {servicePrincipal: {clientSecret: !SECRET x}}",
            "azure: {servicePrincipal: {clientSecret: *SECRET}}",
            "azure: {servicePrincipal: {clientSecret: &SECRET x}}",
            "azure:\n servicePrincipal:\n  clientSecret: SECRET\n clientId: [\n",
            "azure:\n servicePrincipal:\n  clientId: x\n  clientSecret:SECRET\n  tenantId: y\n",
            "azure: {servicePrincipal: {clientSecret:SECRET, clientSecret:SECRET}}",
            "azure: {servicePrincipal: {[SECRET]: x}}",
            "azure: {servicePrincipal: {{clientSecret: SECRET}: x}}",
            "azure: {servicePrincipal: {clientSecret: 'SECRET}}",
            "azure: {servicePrincipal: {clientSecret: !!int SECRET}}",
            "azure: {servicePrincipal: {clientSecret: !!binary SECRET}}",
            "%SECRET\n---\nazure: {}",
            "azure: {tenantId: SECRET, subscriptionId: SECRET, cloud: SECRET, resourceManagerEndpoint: 'https://SECRET@x'}",
            "networking: {httpProxyConfig: {httpProxy: 'http://user:SECRET@proxy:3128'}}",
            "{\"azure\": {\"servicePrincipal\": {\"clientSecret\": \"SECRET\", \"clientSecret\": 1}}}",
        ]),
    ) {
        let text = template.replace("SECRET", &secret);
        let printed = match Fragment::parse(&text, "f") {
            Ok(fragment) => {
                let debug = format!("{fragment:?} {fragment:#?}");
                let problems = Settings::from_fragments([fragment]).expect_err("no cluster is named");
                format!("{debug} {problems} {problems:?}")
            }
            Err(problems) => format!("{problems} {problems:?}"),
        };
        prop_assert!(!printed.contains("canary-"), "{printed}");
    }

    #[test]
    fn a_later_file_wins_and_leaves_the_rest(
        below in vec(("[a-d]", "[a-z]{1,3}"), 0..4),
        above in vec(("[a-d]", "[a-z]{1,3}"), 0..4),
        empty in select(vec!["{}", "node: {}", "node: {labels: {}}", "# nothing", "node:"]),
    ) {
        let quoted = |labels: &[(String, String)]| {
            let map: BTreeMap<_, _> = labels.iter().cloned().collect();
            serde_json::json!({ "node": { "labels": map } }).to_string()
        };
        let (below_text, above_text) = (quoted(&below), quoted(&above));
        let merged = labels(&[&below_text, &above_text]);
        for (key, value) in below.iter().chain(&above).map(|(key, value)| (key, value.clone())) {
            let last = |labels: &[(String, String)]| labels.iter().rev().find(|(k, _)| k == key).map(|(_, v)| v.clone());
            let expected = last(&above).or_else(|| last(&below)).unwrap_or(value);
            prop_assert_eq!(merged.get(key), Some(&expected));
        }
        prop_assert_eq!(&labels(&[&below_text, &above_text, &above_text]), &merged, "once more changes nothing");
        prop_assert_eq!(&labels(&[&below_text, empty, &above_text]), &merged, "an empty file changes nothing");
    }

    #[test]
    fn yaml_and_json_mean_the_same(name in "[a-z]([a-z0-9-]{0,20}[a-z0-9])?", pods in 1..251_i64, value in select(vec!["no", "1.30", "0644", ""])) {
        let yaml = format!("node:\n  name: \"{name}\"\n  maxPods: {pods}\n  labels:\n    x: \"{value}\"\n");
        let json = format!("{{\n\t\"node\": {{\"name\": \"{name}\", \"maxPods\": {pods}, \"labels\": {{\"x\": \"{value}\"}}}}\n}}");
        let node = |text: &str| format!("{:?}", settings(&[text]).node);
        prop_assert_eq!(node(&yaml), node(&json));
    }
}

const CLUSTER: &str = "azure: {tenantId: contoso.example, targetCluster: {resourceId: /subscriptions/44654aed-2753-4b88-9142-af7132933b6b/resourceGroups/rg/providers/Microsoft.ContainerService/managedClusters/c}}";

fn settings(texts: &[&str]) -> Settings {
    let texts = [CLUSTER].into_iter().chain(texts.iter().copied());
    Settings::from_fragments(texts.map(|text| Fragment::parse(text, "f").unwrap())).unwrap()
}

fn labels(texts: &[&str]) -> BTreeMap<String, String> {
    settings(texts).node.labels
}
