//! Configs that name what is not there.

use flexnode_vm::azure::{contoso, role};

use crate::bench::Bench;
use crate::hint;

/// A GUID of nobody.
const NOBODY: &str = "99999999-9999-4999-8999-999999999999";

/// Names `to` instead of `from`: the agent ends with 78, these words and this hint after few requests, and joins with
/// the right name.
fn is_told(from: &str, to: &str, words: &str, cure: &str, requests: usize) {
    // An operator who may look further than the cluster: to others Azure does not tell whether something exists.
    let app = contoso::app(contoso::SECRET).grant(role::READER, &format!("/subscriptions/{}", contoso::SUBSCRIPTION));
    let bench = Bench::new(contoso::world().app(app));
    bench.change_config(from, to);
    let said = bench.ends_with(78);
    assert!(said.contains(words) && hint::of(&said).contains(cure), "{said}");
    let asked = bench.azure().requests();
    assert!(asked.len() <= requests && bench.azure().machines().is_empty(), "{asked:#?}");
    bench.change_config(to, from);
    bench.joins();
}

#[test]
fn an_unknown_application() {
    is_told(contoso::APP, NOBODY, "AADSTS700016", "`az ad sp show --id APPID`", 2);
}

#[test]
fn an_unknown_tenant() {
    is_told(contoso::TENANT, NOBODY, "AADSTS90002", "`az account show --query tenantId -o tsv`", 2);
}

#[test]
fn an_unknown_subscription() {
    is_told(contoso::SUBSCRIPTION, NOBODY, "SubscriptionNotFound", "`az account list -o table`", 3);
}

#[test]
fn an_unknown_group_or_cluster() {
    let cure = "`az aks list --query [].id -o tsv`";
    is_told("resourceGroups/edge-rg/", "resourceGroups/nowhere/", "ResourceGroupNotFound", cure, 3);
    is_told("managedClusters/edge\n", "managedClusters/nowhere\n", "ResourceNotFound", cure, 3);
}

#[test]
fn an_unknown_group_for_machines() {
    is_told(
        "resourceGroup: edge-machines",
        "resourceGroup: nowhere",
        "ResourceGroupNotFound",
        "az group create -n nowhere",
        7,
    );
}

#[test]
fn an_unknown_region_and_an_unknown_role() {
    is_told("location: westeurope", "location: mars", "LocationNotAvailableForResourceType", "azure.arc.location", 7);
    let role = "Azure Kubernetes Service RBAC Cluster Admin";
    let bench = Bench::new(contoso::world());
    bench.change_config(role, "Azure Kubernetes Service Cluster Baker");
    let said = bench.ends_with(78);
    assert!(said.contains("Cluster Baker") && hint::of(&said).contains("`az role definition list -o table`"), "{said}");
    bench.change_config("Azure Kubernetes Service Cluster Baker", role);
    bench.joins();
}
