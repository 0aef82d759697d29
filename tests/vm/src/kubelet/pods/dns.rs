//! The resolver's configuration of a pod.

use std::fs;

use anyhow::{Context as _, Result};

use super::manifest::{DnsPolicy, Pod};
use crate::cri::message::sandbox::DnsConfig;
use crate::kubelet::config::Config;

/// The node's own, or the cluster's where there is one and the pod wants it.
pub(super) fn of(pod: &Pod, config: &Config) -> Result<DnsConfig> {
    let text = fs::read_to_string(&config.resolv_conf).with_context(|| format!("open {}", config.resolv_conf))?;
    let own = parse(&text);
    let clusters = pod.spec.dns_policy == DnsPolicy::ClusterFirst && !pod.spec.host_network;
    if !clusters || config.cluster_dns.is_empty() {
        return Ok(own);
    }
    let domain = &config.cluster_domain;
    let namespaces = [format!("{}.svc.{domain}", pod.namespace), format!("svc.{domain}"), domain.clone()];
    let namespaces = namespaces.into_iter().filter(|_| !domain.is_empty());
    Ok(DnsConfig {
        servers: config.cluster_dns.clone(),
        searches: namespaces.chain(own.searches).collect(),
        options: vec!["ndots:5".to_owned()],
    })
}

/// `resolv.conf(5)`
fn parse(text: &str) -> DnsConfig {
    let mut found = DnsConfig::default();
    for line in text.lines() {
        let mut words = line.split_whitespace().map(str::to_owned);
        match words.next().as_deref() {
            Some("nameserver") => found.servers.extend(words.next()),
            Some("search" | "domain") => found.searches = words.filter(|word| word != ".").collect(),
            Some("options") => found.options.extend(words),
            _ => {}
        }
    }
    found
}
