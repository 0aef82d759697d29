//! What people are told: every kind of mistake, with the exact words.

use std::fmt::Write;

use flexnode_firstboot::config::{Fragment, Problems, Settings};

const ID: &str = "/subscriptions/44654aed-2753-4b88-9142-af7132933b6b/resourceGroups/rg/providers/\
                  Microsoft.ContainerService/managedClusters/edge";

fn settings(texts: &[&str]) -> Result<Settings, Problems> {
    let mut fragments = Vec::new();
    for (nth, text) in texts.iter().enumerate() {
        fragments.push(Fragment::parse(text, format!("{nth}.yaml"))?);
    }
    Settings::from_fragments(fragments)
}

/// What a sound config becomes by adding `text` to it.
fn with(text: &str) -> Result<Settings, Problems> {
    settings(&[&format!("azure: {{tenantId: contoso.example, targetCluster: {{resourceId: '{ID}'}}}}"), text])
}

#[test]
fn every_mistake_is_told_with_its_key_and_its_cure() {
    let mistakes = [
        // Text
        "node: [",
        "node: {name: a}\nnode: {name: b}",
        r#"{"node": {"name": "a", "name": "b"}}"#,
        "a: 1\n--- \nb: 2",
        "node: *nowhere",
        "azure: {servicePrincipal: {clientSecret: !hunter2 x}}",
        "azure: {servicePrincipal: {clientSecret: !!binary eA==}}",
        "<<: {node: {}}",
        "just words",
        "- a list",
        "42",
        // Keys
        "nodes: {}",
        "qqqq: 1",
        "node: {max_pods: 30, lables: {}}",
        "azure: {servicePrincipal: {clientID: x}}",
        "node: {'a b\\n': 1, '': 2}",
        // Keys of AKS Flex Node
        "agent: {nodeName: a}",
        "components: {kubernetes: 1.34.3}",
        "azure: {arc: {enabled: true}, bootstrapToken: {token: a.b}, targetAgentPoolName: x}",
        "node: {kubelet: {dnsServiceIP: 10.0.0.10, clusterFQDN: a.b, verbosity: 2}}",
        // Types
        "node: {labels: [a]}",
        "node: {labels: text}",
        "node: {taints: a:NoSchedule}",
        "node: {taints: [1, {}, null, [a]]}",
        "node: {maxPods: '30'}",
        "node: {maxPods: 30.5}",
        "node: {maxPods: 99999999999999999999}",
        "node: {name: {a: b}}",
        "azure: {subscriptionId: 44}",
        "azure: {servicePrincipal: secret}",
        "azure: {servicePrincipal: {removeSecretAfterJoin: 'yes'}}",
        // Azure
        "azure: {subscriptionId: not-a-guid}",
        "azure: {subscriptionId: 00000000-0000-0000-0000-000000000000}",
        "azure: {tenantId: common}",
        "azure: {tenantId: 'a b.c'}",
        "azure: {cloud: AzurePublic}",
        "azure: {cloud: Mars}",
        "azure: {resourceManagerEndpoint: 'http://management.azure.com'}",
        "azure: {resourceManagerEndpoint: 'https://management.azure.com/subscriptions'}",
        "azure: {targetCluster: {resourceId: /subscriptions/x}}",
        "azure: {targetCluster: {resourceId: null}}",
        "azure: {targetCluster: {location: 'West-Europe'}}",
        "azure: {arc: {machineName: 'a b', resourceGroup: 'rg.', location: ''}}",
        "azure: {arc: {tags: {'a=b': c, d: 'e,f', g: 1.30}}}",
        // The operator
        "azure: {servicePrincipal: {}}",
        "azure: {servicePrincipal: {clientId: x, clientSecret: a, clientSecretFile: /a}}",
        "azure: {servicePrincipal: {clientId: x, clientSecret:hunter2}}",
        "azure: {servicePrincipal: {clientId: x, ClientSecret: hunter2}}",
        "azure: {servicePrincipal: {clientId: x, tenantId: x, clientSecretFile: secret.txt}}",
        "azure: {servicePrincipal: {clientId: 44654aed-2753-4b88-9142-af7132933b6b, clientSecretFile: /a/../b}}",
        "azure: {servicePrincipal: {clientId: 44654aed-2753-4b88-9142-af7132933b6b, clientSecretCredential: a/b}}",
        "azure: {servicePrincipal: {clientId: 44654aed-2753-4b88-9142-af7132933b6b, clientSecret: ''}}",
        "azure: {servicePrincipal: {clientId: 44654aed-2753-4b88-9142-af7132933b6b, clientSecret: 0e12345}}",
        "azure: {servicePrincipal: {clientId: 44654aed-2753-4b88-9142-af7132933b6b, clientSecret: a, removeSecretAfterJoin: true}}",
        // The node
        "node: {name: Edge_1}",
        "node: {labels: {a: no, b: on, c: 1.30, d: 0644, e: y, f: ~, g: .nan, h: 1e999}}",
        "node: {labels: {'-a': b, 'A.b/c': d, 'a/b/c': d, e: '-', 'x/': y}}",
        "node: {labels: {node-role.kubernetes.io/edge: '', kubernetes.io/x: a, a.k8s.io/b: c}}",
        "node: {labels: {kubernetes.azure.com/managed: 'true'}}",
        "node: {taints: [a, 'a:b:NoSchedule', 'a=b:NoSchedule', 'a:NoSchedule', 'a:noschedule', '=b:NoExecute', 'a=-:NoExecute']}",
        "node: {maxPods: 0}",
        "node: {maxPods: 251}",
        "node: {kubelet: {nodeIP: 10.0.0.4/24}}",
        "node: {kubelet: {nodeIP: '10.0.0.4,10.0.0.5'}}",
        "node: {kubelet: {nodeIP: '10.0.0.4,fd00::4,fd00::5'}}",
        "node: {kubelet: {nodeIP: '::1'}}",
        "node: {kubelet: {nodeIP: ''}}",
        // The network, the roles
        "networking: {dnsServiceIP: kube-dns, caCertFile: ca.pem}",
        "networking: {httpProxyConfig: {httpProxy: 'http://u:p@proxy:3128', httpsProxy: proxy:3128, noProxy: ['a,b']}}",
        "rbac: {roles: [{role: ''}, {scope: /subscriptions/x}, {rol: Reader}, Reader]}",
    ];
    let mut told = String::new();
    for text in mistakes {
        let problems = with(text).expect_err(text);
        writeln!(told, "=== {text}\n{problems}\n").unwrap();
    }
    insta::assert_snapshot!(told);
}

#[test]
fn an_empty_config_says_what_is_needed() {
    insta::assert_snapshot!(settings(&["# nothing yet"]).expect_err("nothing is said"));
}

#[test]
fn what_a_misspelt_key_explains_is_not_told_twice() {
    let problems = settings(&["azure: {tenantID: a.example, targetCluster: {resourceID: x}}"]).expect_err("misspelt");
    let keys: Vec<_> = problems.list().iter().map(|problem| problem.key.as_str()).collect();
    assert_eq!(keys, ["azure.tenantID", "azure.targetCluster.resourceID"]);
}

#[test]
fn strings_that_yaml_1_1_reads_otherwise_are_strings_when_quoted() {
    let quoted = r#"node: {labels: {a: "no", b: 'on', c: "1.30", d: "0644", e: "", g: "1_000"}}"#;
    let labels = with(quoted).unwrap().node.labels;
    let values: Vec<_> = ["a", "b", "c", "d", "e", "g"].iter().map(|key| labels[*key].as_str()).collect();
    assert_eq!(values, ["no", "on", "1.30", "0644", "", "1_000"]);
}

#[test]
fn depth_and_aliases_cannot_exhaust_the_machine() {
    let bomb = (1..30)
        .fold("a0: &a0 [x, x]\n".to_owned(), |text, n| format!("{text}a{n}: &a{n} [*a{}, *a{}]\n", n - 1, n - 1));
    let hostile = [
        "[".repeat(100_000),
        "{\"a\":".repeat(100_000),
        "{a: ".repeat(100_000),
        "- ".repeat(100_000),
        "? ".repeat(100_000),
        bomb,
    ];
    for text in hostile {
        let problems = settings(&[&text]).expect_err("hostile");
        assert!(problems.to_string().len() < 1000, "{problems}");
    }
}
