//! Where things are on a prepared node. The templates say the same paths; a test of the builder holds the two together.

/// Our own configuration; 0700, because the node's config may hold a client secret.
pub const CONFIG_DIRECTORY: &str = "/etc/flexnode";

/// Our own state; 0700.
pub const STATE_DIRECTORY: &str = "/var/lib/flexnode";

/// Written after the last step of a join only; a dot and the machine-id follow, so that a clone has none of its own.
/// Our unit is skipped where there is one for this machine.
pub const MARKER: &str = "/var/lib/flexnode/joined";

/// The marker of a join that is done but for the removal of the secret; a dot and the machine-id follow.
pub const FAREWELL: &str = "/var/lib/flexnode/joining";

/// Held while a join runs.
pub const LOCK: &str = "/var/lib/flexnode/lock";

/// There from before something that the kubelet reads changes until the kubelet has been started with it.
pub const RESTART_NOTE: &str = "/var/lib/flexnode/kubelet-restart-due";

/// There once what the kubelet reads is this machine's own; a dot and the machine-id follow. The kubelet's unit is
/// skipped without it: on a clone it would come up before us, and act as the machine that was cloned.
pub const KUBELET_PERMIT: &str = "/var/lib/flexnode/kubelet-may-run";

/// There while the Arc agent's package is being installed.
pub const INSTALL_NOTE: &str = "/var/lib/flexnode/azcmagent-install-due";

/// In memory, gone with a power cut; 0700.
pub const RUN_DIRECTORY: &str = "/run/flexnode";

/// The `--config` file of `azcmagent connect`, which holds a secret; there while that runs.
pub const CONNECT_CONFIG: &str = "/run/flexnode/azcmagent-connect.json";

/// Packages that the bundle brings along.
pub const PACKAGES: &str = "/usr/share/flexnode/debs";

/// The node's config.
pub const CONFIG: &str = "/etc/flexnode/config.yaml";

/// For people (`flexnode-firstboot status`); control flow never reads it.
pub const STATE: &str = "/var/lib/flexnode/state.json";

/// Variables for the kubelet's unit, written by firstboot: [`KUBELET_LABELS_VARIABLE`] and [`KUBELET_ARGS_VARIABLE`].
/// The unit reads the file at each start, so a change needs a restart and no `daemon-reload`.
pub const KUBELET_ENVIRONMENT: &str = "/etc/flexnode/kubelet.env";

/// The variable that replaces the bundle's node labels: `key=value,key=value`.
pub const KUBELET_LABELS_VARIABLE: &str = "FLEXNODE_NODE_LABELS";

/// The variable with this machine's further kubelet flags, split at white space:
/// `--hostname-override=…`, `--node-ip=…`, `--register-with-taints=…`, `--cluster-dns=…`, `--max-pods=…`.
pub const KUBELET_ARGS_VARIABLE: &str = "FLEXNODE_KUBELET_ARGS";

/// The kubelet's configuration, from the bundle; firstboot leaves it as it is.
pub const KUBELET_CONFIG: &str = "/var/lib/kubelet/config.yaml";

/// The kubelet's kubeconfig; 0600. The kubelet's unit is skipped until it exists.
pub const KUBECONFIG: &str = "/var/lib/kubelet/kubeconfig";

/// The kubelet's certificates; not to be carried over to a clone.
pub const KUBELET_PKI: &str = "/var/lib/kubelet/pki";

/// The exec plugin of that kubeconfig, from the bundle.
pub const TOKEN_SCRIPT: &str = "/var/lib/kubelet/token.sh";

/// The cluster's CA, against which the kubelet checks the API server's client certificate (`clientCAFile`).
/// The kubelet's unit is skipped until it exists.
pub const CLUSTER_CA: &str = "/etc/kubernetes/pki/ca.crt";

/// Manifests of static pods.
pub const STATIC_PODS: &str = "/etc/kubernetes/manifests";

/// The CRI socket.
pub const CONTAINERD_SOCKET: &str = "/run/containerd/containerd.sock";

/// containerd's configuration, from the bundle.
pub const CONTAINERD_CONFIG: &str = "/etc/containerd/config.toml";

/// The container runtime's unit; enabled by firstboot.
pub const CONTAINERD_UNIT: &str = "containerd.service";

/// The kubelet's unit; enabled by firstboot.
pub const KUBELET_UNIT: &str = "kubelet.service";

/// Our own unit, the only one that the bundle enables.
pub const FIRSTBOOT_UNIT: &str = "flexnode-firstboot.service";

/// Modules that must be loaded.
pub const MODULES: &str = "/etc/modules-load.d/flexnode.conf";

/// Kernel parameters that must be set.
pub const SYSCTLS: &str = "/etc/sysctl.d/99-flexnode.conf";

/// Where the bundle describes itself.
pub const BUNDLE_MANIFEST: &str = "/usr/share/flexnode/bundle.json";
