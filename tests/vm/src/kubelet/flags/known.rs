//! The kubelet's flags, with what each takes and the minors that know it.
//!
//! From the reference page of 1.34 (kubernetes/website, `command-line-tools-reference/kubelet.md`); `since` and `gone`
//! as `shared/catalog/compat.json` has them, with its sources. Flags whose removal is not known to the minor are left out:
//! none of them is ours.

use Takes::{Address, Bool, Duration, Int32, Int64, List, Pairs, Taints, Text};

/// What a flag takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::kubelet) enum Takes {
    Address,
    /// `true` where there is no value.
    Bool,
    Duration,
    Int32,
    Int64,
    List,
    /// `key=value,…`
    Pairs,
    Taints,
    Text,
}

/// A flag.
#[derive(Debug)]
pub(in crate::kubelet) struct Flag {
    pub(super) name: &'static str,
    pub(super) takes: Takes,
    /// The field of the configuration that it overrides.
    pub(super) field: Option<&'static str>,
    since: u64,
    gone: u64,
}

/// The flag of this name, if 1.`minor` knows it.
pub(super) fn find(name: &str, minor: u64) -> Option<&'static Flag> {
    FLAGS.iter().find(|flag| flag.name == name && (flag.since..flag.gone).contains(&minor))
}

const fn flag(name: &'static str, takes: Takes) -> Flag {
    Flag { name, takes, field: None, since: 0, gone: u64::MAX }
}

/// One that stands for a field of the configuration, too.
const fn field(name: &'static str, takes: Takes, field: &'static str) -> Flag {
    Flag { name, takes, field: Some(field), since: 0, gone: u64::MAX }
}

const fn since(minor: u64, flag: Flag) -> Flag {
    Flag { since: minor, ..flag }
}

const fn gone(minor: u64, flag: Flag) -> Flag {
    Flag { gone: minor, ..flag }
}

#[rustfmt::skip]
static FLAGS: [Flag; 123] = [
    field("address", Address, "address"),
    field("allowed-unsafe-sysctls", List, "allowedUnsafeSysctls"),
    flag("anonymous-auth", Bool),
    flag("authentication-token-webhook", Bool),
    flag("authentication-token-webhook-cache-ttl", Duration),
    flag("authorization-mode", Text),
    flag("authorization-webhook-cache-authorized-ttl", Duration),
    flag("authorization-webhook-cache-unauthorized-ttl", Duration),
    gone(30, flag("azure-container-registry-config", Text)),
    flag("bootstrap-kubeconfig", Text),
    flag("cert-dir", Text),
    field("cgroup-driver", Text, "cgroupDriver"),
    field("cgroup-root", Text, "cgroupRoot"),
    field("cgroups-per-qos", Bool, "cgroupsPerQOS"),
    flag("client-ca-file", Text),
    flag("cloud-provider", Text),
    field("cluster-dns", List, "clusterDNS"),
    field("cluster-domain", Text, "clusterDomain"),
    flag("config", Text),
    flag("config-dir", Text),
    field("container-log-max-files", Int32, "containerLogMaxFiles"),
    field("container-log-max-size", Text, "containerLogMaxSize"),
    field("container-runtime-endpoint", Text, "containerRuntimeEndpoint"),
    field("contention-profiling", Bool, "enableContentionProfiling"),
    field("cpu-cfs-quota", Bool, "cpuCFSQuota"),
    field("cpu-cfs-quota-period", Duration, "cpuCFSQuotaPeriod"),
    field("cpu-manager-policy", Text, "cpuManagerPolicy"),
    field("cpu-manager-policy-options", Pairs, "cpuManagerPolicyOptions"),
    field("cpu-manager-reconcile-period", Duration, "cpuManagerReconcilePeriod"),
    field("enable-controller-attach-detach", Bool, "enableControllerAttachDetach"),
    field("enable-debugging-handlers", Bool, "enableDebuggingHandlers"),
    field("enable-server", Bool, "enableServer"),
    field("enforce-node-allocatable", List, "enforceNodeAllocatable"),
    field("event-burst", Int32, "eventBurst"),
    field("event-qps", Int32, "eventRecordQPS"),
    flag("eviction-hard", Text),
    field("eviction-max-pod-grace-period", Int32, "evictionMaxPodGracePeriod"),
    flag("eviction-minimum-reclaim", Pairs),
    field("eviction-pressure-transition-period", Duration, "evictionPressureTransitionPeriod"),
    flag("eviction-soft", Text),
    flag("eviction-soft-grace-period", Pairs),
    flag("exit-on-lock-contention", Bool),
    flag("experimental-allocatable-ignore-eviction", Bool),
    flag("experimental-mounter-path", Text),
    since(31, field("fail-cgroupv1", Bool, "failCgroupV1")),
    field("fail-swap-on", Bool, "failSwapOn"),
    flag("feature-gates", Pairs),
    field("file-check-frequency", Duration, "fileCheckFrequency"),
    field("hairpin-mode", Text, "hairpinMode"),
    field("healthz-bind-address", Address, "healthzBindAddress"),
    field("healthz-port", Int32, "healthzPort"),
    flag("hostname-override", Text),
    field("http-check-frequency", Duration, "httpCheckFrequency"),
    flag("image-credential-provider-bin-dir", Text),
    flag("image-credential-provider-config", Text),
    field("image-gc-high-threshold", Int32, "imageGCHighThresholdPercent"),
    field("image-gc-low-threshold", Int32, "imageGCLowThresholdPercent"),
    field("image-service-endpoint", Text, "imageServiceEndpoint"),
    field("kernel-memcg-notification", Bool, "kernelMemcgNotification"),
    field("kube-api-burst", Int32, "kubeAPIBurst"),
    field("kube-api-content-type", Text, "contentType"),
    field("kube-api-qps", Int32, "kubeAPIQPS"),
    field("kube-reserved", Pairs, "kubeReserved"),
    field("kube-reserved-cgroup", Text, "kubeReservedCgroup"),
    flag("kubeconfig", Text),
    field("kubelet-cgroups", Text, "kubeletCgroups"),
    field("local-storage-capacity-isolation", Bool, "localStorageCapacityIsolation"),
    flag("lock-file", Text),
    flag("log-flush-frequency", Duration),
    flag("logging-format", Text),
    field("make-iptables-util-chains", Bool, "makeIPTablesUtilChains"),
    field("max-open-files", Int64, "maxOpenFiles"),
    field("max-pods", Int32, "maxPods"),
    flag("maximum-dead-containers", Int32),
    flag("maximum-dead-containers-per-container", Int32),
    field("memory-manager-policy", Text, "memoryManagerPolicy"),
    flag("minimum-container-ttl-duration", Duration),
    field("minimum-image-ttl-duration", Duration, "imageMinimumGCAge"),
    flag("node-ip", Text),
    flag("node-labels", Pairs),
    field("node-status-max-images", Int32, "nodeStatusMaxImages"),
    field("node-status-update-frequency", Duration, "nodeStatusUpdateFrequency"),
    field("oom-score-adj", Int32, "oomScoreAdj"),
    field("pod-cidr", Text, "podCIDR"),
    gone(35, flag("pod-infra-container-image", Text)),
    field("pod-manifest-path", Text, "staticPodPath"),
    field("pod-max-pids", Int64, "podPidsLimit"),
    field("pods-per-core", Int32, "podsPerCore"),
    field("port", Int32, "port"),
    field("protect-kernel-defaults", Bool, "protectKernelDefaults"),
    field("provider-id", Text, "providerID"),
    field("qos-reserved", Pairs, "qosReserved"),
    field("read-only-port", Int32, "readOnlyPort"),
    field("register-node", Bool, "registerNode"),
    gone(34, flag("register-schedulable", Bool)),
    field("register-with-taints", Taints, "registerWithTaints"),
    field("registry-burst", Int32, "registryBurst"),
    field("registry-qps", Int32, "registryPullQPS"),
    field("reserved-cpus", Text, "reservedSystemCPUs"),
    field("resolv-conf", Text, "resolvConf"),
    flag("root-dir", Text),
    field("rotate-certificates", Bool, "rotateCertificates"),
    field("rotate-server-certificates", Bool, "serverTLSBootstrap"),
    flag("runtime-cgroups", Text),
    field("runtime-request-timeout", Duration, "runtimeRequestTimeout"),
    field("seccomp-default", Bool, "seccompDefault"),
    field("serialize-image-pulls", Bool, "serializeImagePulls"),
    field("streaming-connection-idle-timeout", Duration, "streamingConnectionIdleTimeout"),
    field("sync-frequency", Duration, "syncFrequency"),
    field("system-cgroups", Text, "systemCgroups"),
    field("system-reserved", Pairs, "systemReserved"),
    field("system-reserved-cgroup", Text, "systemReservedCgroup"),
    field("tls-cert-file", Text, "tlsCertFile"),
    field("tls-cipher-suites", List, "tlsCipherSuites"),
    field("tls-min-version", Text, "tlsMinVersion"),
    field("tls-private-key-file", Text, "tlsPrivateKeyFile"),
    field("topology-manager-policy", Text, "topologyManagerPolicy"),
    field("topology-manager-policy-options", Pairs, "topologyManagerPolicyOptions"),
    field("topology-manager-scope", Text, "topologyManagerScope"),
    flag("v", Int32),
    flag("vmodule", Text),
    field("volume-plugin-dir", Text, "volumePluginDir"),
    field("volume-stats-agg-period", Duration, "volumeStatsAggPeriod"),
];
