//! What a sound config becomes.

use flexnode_firstboot::config::azure::{Cloud, Role};
use flexnode_firstboot::config::{Fragment, NodeConfig, Operator, Problems, SecretSource, Settings};

const LEAST: &str = "
azure:
  tenantId: 70A036F6-8e4d-4615-bad6-149c02e7720d
  targetCluster:
    resourceId: /SUBSCRIPTIONS/44654AED-2753-4b88-9142-af7132933b6b/resourcegroups/Edge (EU)_1.x/PROVIDERS/microsoft.containerservice/managedclusters/Edge-1
";

const FULL: &str = include_str!("full.json");

fn settings(texts: &[&str]) -> Result<Settings, Problems> {
    let fragments = texts.iter().map(|text| Fragment::parse(text, "test")).collect::<Result<Vec<_>, _>>()?;
    Settings::from_fragments(fragments)
}

#[test]
fn everything_else_has_a_default() {
    let settings = settings(&[&LEAST.replace("Edge (EU)", "Edge-(EU)")]).unwrap();
    insta::assert_debug_snapshot!(settings);
}

#[test]
fn every_key_reaches_the_settings() {
    insta::assert_debug_snapshot!(settings(&[FULL]).unwrap());
}

#[test]
fn the_full_config_uses_every_key_of_the_schema() {
    let full: serde_json::Value = serde_json::from_str(FULL).unwrap();
    let mut unused = Vec::new();
    leaves(&flexnode_firstboot::config::schema(), "", &mut |pointer| {
        if full.pointer(pointer).is_none() {
            unused.push(pointer.to_owned());
        }
    });
    // The full config has the secret in a file; of the three places only one can be used.
    let alternatives = ["clientSecret", "clientSecretCredential"].map(|key| format!("/azure/servicePrincipal/{key}"));
    assert_eq!(unused, alternatives);
}

/// JSON pointers of all keys in `schema` that hold no further keys; the first entry stands for all of a list.
fn leaves(schema: &serde_json::Value, pointer: &str, found: &mut impl FnMut(&str)) {
    let schema = schema["anyOf"].get(0).unwrap_or(schema);
    match (schema["properties"].as_object(), schema["items"]["properties"].is_object()) {
        (Some(properties), _) => properties.iter().for_each(|(key, of)| leaves(of, &format!("{pointer}/{key}"), found)),
        (None, true) => leaves(&schema["items"], &format!("{pointer}/0"), found),
        (None, false) => found(pointer),
    }
}

#[test]
fn drop_ins_change_the_machine_s_own_values_alone() {
    let machine =
        "node: {name: edge-07, taints: [own:NoExecute], labels: {example.com/site: null-island}, maxPods: null}";
    let (golden, own) = (settings(&[FULL]).unwrap(), settings(&[FULL, machine]).unwrap());
    assert_eq!(own.node.name.map(|name| name.to_string()).as_deref(), Some("edge-07"));
    assert_eq!(own.node.taints.len(), 1, "a list is replaced");
    assert_eq!(own.node.labels.len(), golden.node.labels.len(), "a map is merged");
    assert_eq!(own.node.labels["example.com/site"], "null-island");
    assert_eq!((golden.node.max_pods, own.node.max_pods), (Some(60), None), "null takes back");
    assert_eq!((own.cluster, own.node.ip), (golden.cluster, golden.node.ip));
}

#[test]
fn the_kind_of_secret_can_be_changed_by_a_drop_in() {
    let inline = "azure: {servicePrincipal: {clientSecretFile: null, removeSecretAfterJoin: no, clientSecret: a#b}}";
    let Operator::ServicePrincipal(principal) = settings(&[FULL, inline]).unwrap().operator else {
        panic!("a service principal is configured");
    };
    let SecretSource::Inline(secret) = principal.secret else { panic!("the secret is inline now") };
    assert_eq!(secret.expose(), "a#b");
}

#[test]
fn a_tenant_said_once_is_enough() {
    let at = |text: &str, tenant: &str| text.replace("tenantId: 70A036F6-8e4d-4615-bad6-149c02e7720d", tenant);
    let least = LEAST.replace("Edge (EU)", "edge");
    let principal = "azure: {servicePrincipal: {tenantId: App.example, clientSecretCredential: join,
        clientId: 44654aed-2753-4b88-9142-af7132933b6b}}";
    assert_eq!(
        settings(&[&at(&least, "cloud: AzureChinaCloud"), principal]).unwrap().tenant.to_string(),
        "app.example"
    );
    assert!(settings(&[&at(&least, "cloud: AzureChinaCloud")]).is_err());
}

#[test]
fn a_config_built_in_code_is_proven_alike() {
    let mut config = NodeConfig::default();
    assert_eq!(Settings::try_from(config).expect_err("empty").list().len(), 2);
    config = NodeConfig::default();
    config.azure.tenant_id = Some("contoso.example".into());
    config.azure.target_cluster.resource_id = Some(
        "/subscriptions/44654aed-2753-4b88-9142-af7132933b6b/resourceGroups/rg/providers/Microsoft.ContainerService/managedClusters/c"
            .into(),
    );
    config.azure.cloud = Some("AzureUSGovernment".into());
    let settings = Settings::try_from(config).unwrap();
    assert_eq!(settings.cloud, Cloud::AzureUSGovernment);
    assert_eq!(settings.resource_manager.to_string(), "https://management.usgovcloudapi.net");
}

#[test]
fn a_role_is_told_apart_from_its_id() {
    let roles = settings(&[FULL]).unwrap().roles;
    assert!(
        matches!(roles.as_slice(), [first, second] if matches!(first.role, Role::Name(_)) && matches!(second.role, Role::Id(_)))
    );
    assert!(roles[1].scope.to_string().ends_with("/managedClusters/Edge"), "the cluster is the default scope");
}

#[test]
fn every_cloud_is_in_the_schema_and_has_a_sound_endpoint() {
    let schema = flexnode_firstboot::config::schema();
    let listed = schema.pointer("/properties/azure/properties/cloud/enum").unwrap().as_array().unwrap();
    assert_eq!(listed.len(), Cloud::ALL.len() + 1, "the clouds and null");
    for cloud in Cloud::ALL {
        let facts = cloud.facts();
        assert!(listed.iter().any(|name| name == facts.name));
        assert_eq!(facts.name.parse(), Ok(cloud));
        for origin in [facts.resource_manager, facts.authority] {
            let endpoint: flexnode_firstboot::config::endpoint::Endpoint = origin.parse().unwrap();
            assert!(endpoint.is_secure() && endpoint.to_string() == origin);
        }
    }
}
