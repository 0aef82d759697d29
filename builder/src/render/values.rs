//! What a user may set: every value of the templates, typed, documented and defaulted.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// All values, as the spec's `values` and `--set` give them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Values {
    /// The kubelet.
    pub kubelet: Kubelet,
    /// The container runtime.
    pub containerd: Containerd,
    /// Where container networking lives.
    pub network: Network,
    /// The machine's identity endpoint, as `token.sh` asks it.
    pub himds: Himds,
    /// Free for your own templates: `{{ values.custom.… }}`.
    pub custom: Map<String, Value>,
}

/// The kubelet's configuration, in part; the rest is what a node of this project needs, or goes to `extraConfig`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Kubelet {
    /// How many pods the node takes.
    pub max_pods: u32,
    /// The cluster's DNS service addresses; AKS uses 10.0.0.10 unless the service CIDR was changed.
    pub cluster_dns: Vec<IpAddr>,
    /// The cluster's DNS domain.
    pub cluster_domain: String,
    /// Per cent of disk use from which images are always collected.
    pub image_gc_high_threshold_percent: u8,
    /// Per cent of disk use below which images are never collected.
    pub image_gc_low_threshold_percent: u8,
    /// Hard eviction thresholds by signal. Signals that are not named keep Kubernetes' defaults.
    pub eviction_hard: BTreeMap<String, String>,
    /// Refuse to start while swap is on.
    pub fail_swap_on: bool,
    /// Refuse to start when kernel parameters differ from what the kubelet expects; the bundle sets them.
    pub protect_kernel_defaults: bool,
    /// Ask the cluster for the serving certificate; somebody must approve the requests.
    pub server_tls_bootstrap: bool,
    /// Rotate the client certificate. Leave it off on nodes that sign in with the machine's identity: the kubelet
    /// would go on without that identity and exit after five minutes without a certificate.
    pub rotate_certificates: bool,
    /// The resolver configuration that pods inherit; null takes systemd-resolved's own on Ubuntu and
    /// /etc/resolv.conf elsewhere.
    pub resolv_conf: Option<String>,
    /// Cipher suites of the kubelet's server, below TLS 1.3. Empty takes Go's own.
    pub tls_cipher_suites: Vec<String>,
    /// Resources set aside for the operating system, by name (`cpu`, `memory`, `ephemeral-storage`, `pid`).
    pub system_reserved: BTreeMap<String, String>,
    /// Resources set aside for Kubernetes' own processes, by name.
    pub kube_reserved: BTreeMap<String, String>,
    /// Feature gates by name.
    pub feature_gates: BTreeMap<String, bool>,
    /// Taints the node registers with. Those of one machine belong in its own config.
    pub register_with_taints: Vec<Taint>,
    /// Labels the node registers with. Without `kubernetes.azure.com/managed=false` Azure's cloud controller
    /// deletes the node when it is not ready for a while.
    pub node_labels: BTreeMap<String, String>,
    /// Further fields of `KubeletConfiguration`, merged over everything else; null leaves a field out. Each is
    /// checked against what the Kubernetes minor knows.
    pub extra_config: Map<String, Value>,
}

impl Default for Kubelet {
    fn default() -> Self {
        Self {
            max_pods: 110,
            cluster_dns: vec![IpAddr::from([10, 0, 0, 10])],
            cluster_domain: "cluster.local".into(),
            image_gc_high_threshold_percent: 85,
            image_gc_low_threshold_percent: 80,
            eviction_hard: BTreeMap::new(),
            fail_swap_on: true,
            protect_kernel_defaults: true,
            server_tls_bootstrap: false,
            rotate_certificates: false,
            resolv_conf: None,
            // The TLS 1.2 suites with forward secrecy and authenticated encryption (Mozilla's "intermediate").
            tls_cipher_suites: [
                "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
                "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
                "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
                "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
                "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
                "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
            ]
            .map(str::to_owned)
            .to_vec(),
            system_reserved: BTreeMap::new(),
            kube_reserved: BTreeMap::new(),
            feature_gates: BTreeMap::new(),
            register_with_taints: Vec::new(),
            node_labels: [("kubernetes.azure.com/managed".to_owned(), "false".to_owned())].into(),
            extra_config: Map::new(),
        }
    }
}

/// A taint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Taint {
    /// Its key.
    pub key: String,
    /// Its value; may be empty.
    #[serde(default)]
    pub value: String,
    /// What it does to pods that do not tolerate it.
    pub effect: TaintEffect,
}

/// What a taint does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TaintEffect {
    /// New pods are not scheduled.
    NoSchedule,
    /// New pods are scheduled elsewhere where possible.
    PreferNoSchedule,
    /// Running pods are evicted too.
    NoExecute,
}

/// containerd's configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Containerd {
    /// Where images are pulled from, by registry host as image names spell it (`docker.io`, `ghcr.io`,
    /// `registry.local:5000`); `_default` is for every registry that is not named.
    pub mirrors: BTreeMap<String, Mirror>,
    /// Where metrics are served, a loopback address with port; null serves none.
    pub metrics_address: Option<SocketAddr>,
    /// How many layers of an image are downloaded at once.
    pub max_concurrent_downloads: u32,
    /// Never lower a container's OOM score below containerd's own; for nodes that are containers themselves.
    pub restrict_oom_score_adj: bool,
}

impl Default for Containerd {
    fn default() -> Self {
        Self {
            mirrors: BTreeMap::new(),
            metrics_address: Some(SocketAddr::from(([127, 0, 0, 1], 1338))),
            max_concurrent_downloads: 3,
            restrict_oom_score_adj: false,
        }
    }
}

/// Where the images of one registry are pulled from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Mirror {
    /// Base URLs, tried in this order; the registry itself comes last.
    pub endpoints: Vec<String>,
    /// A file on the node with the CA certificates that the endpoints' are checked against, as an absolute path.
    #[serde(default)]
    pub ca: Option<String>,
    /// Accept any certificate. Images are then only as trustworthy as the network.
    #[serde(default)]
    pub skip_verify: bool,
    /// The endpoint's path is the API's root already: do not append `/v2`.
    #[serde(default)]
    pub override_path: bool,
}

/// Where CNI plugins and their configuration are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Network {
    /// The plugins' directory on the node, as an absolute path. The bundle installs into /opt/cni/bin.
    pub cni_bin_dir: String,
    /// The configuration's directory on the node, as an absolute path.
    pub cni_conf_dir: String,
}

impl Default for Network {
    fn default() -> Self {
        Self { cni_bin_dir: "/opt/cni/bin".into(), cni_conf_dir: "/etc/cni/net.d".into() }
    }
}

/// The Arc agent's identity endpoint. It is fixed at build time: the node's environment cannot redirect it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Himds {
    /// Base URL, on the loopback interface.
    pub endpoint: String,
    /// The only directory that a challenge may name, as an absolute path.
    pub tokens_directory: String,
    /// What the token is for; AKS' server application, the same in every cloud.
    pub resource: String,
    /// The endpoint's API version.
    pub api_version: String,
    /// Seconds to wait for a connection.
    pub connect_timeout_seconds: u16,
    /// Seconds to wait for one answer.
    pub timeout_seconds: u16,
    /// Seconds before the second try; the third waits twice as long.
    pub retry_delay_seconds: u16,
}

impl Default for Himds {
    fn default() -> Self {
        Self {
            endpoint: "http://localhost:40342".into(),
            tokens_directory: "/var/opt/azcmagent/tokens".into(),
            resource: "6dae42f8-4368-4678-94ff-3960e28e3630".into(),
            api_version: "2020-06-01".into(),
            connect_timeout_seconds: 2,
            timeout_seconds: 10,
            retry_delay_seconds: 1,
        }
    }
}
