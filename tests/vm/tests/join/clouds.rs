//! Azure's clouds by their own names, which only the site's proxy resolves: endpoints, audiences and `--cloud` are those
//! of the agent's table, and nothing is asked of anybody else.

use std::collections::BTreeSet;

use flexnode_vm::azure::{Cloud, Operation, contoso};
use flexnode_vm::join::NODE;

use super::{ends_with, site_in};

#[test]
fn each_of_azures_clouds_is_joined_by_its_names_through_the_proxy() {
    for cloud in Cloud::AZURE {
        let dir = tempfile::tempdir().unwrap();
        let site = site_in(contoso::world().cloud(cloud), dir.path());
        let azure = &site.game.emulator;
        ends_with(&mut site.join(), 0);
        let nodes = azure.nodes(&contoso::cluster_id());
        assert_eq!(nodes.len(), 1, "{cloud:?}");
        assert_eq!(nodes[0]["metadata"]["name"], NODE, "{cloud:?}");
        // ARM's own metadata is for clouds that the table does not know; the Arc agent's stand-in asks for it once.
        assert!(azure.requests_for(Operation::ArmMetadata).len() <= 1, "{:#?}", azure.requests());

        let hosts = cloud.hosts().unwrap();
        let (server, _) = azure.api_server(&contoso::cluster_id()).unwrap();
        let expected: BTreeSet<String> = [
            format!("{}:443", hosts.entra),
            format!("{}:443", hosts.arm),
            server.trim_start_matches("https://").to_owned(),
        ]
        .into();
        let asked: BTreeSet<String> = site.game.proxy.as_ref().unwrap().asked().into_iter().collect();
        assert_eq!(asked, expected, "{cloud:?}");
    }
}

#[test]
fn the_wrong_cloud_is_told_and_nothing_is_registered() {
    let dir = tempfile::tempdir().unwrap();
    let site = site_in(contoso::world().cloud(Cloud::China), dir.path());
    let config = std::fs::read_to_string(&site.game.config).unwrap();
    assert!(config.contains("cloud: AzureChinaCloud"), "{config}");
    std::fs::write(&site.game.config, config.replace("AzureChinaCloud", "AzureUSGovernment")).unwrap();
    // The proxy of this site lets nobody out to that cloud.
    let said = ends_with(&mut site.join_at(0.002), 75);
    assert!(said.contains("https://login.microsoftonline.us") && said.contains("hint: "), "{said}");
    assert!(site.game.emulator.machines().is_empty());
}
