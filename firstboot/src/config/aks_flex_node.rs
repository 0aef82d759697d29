//! Keys of AKS Flex Node that have no place here: what to do with them instead.

const FIXED_IN_BUNDLE: &str = "what is installed is fixed when the bundle is built (`flexnode-build`); remove it here";
const FETCHED: &str = "it is fetched from the cluster at first boot; remove it";
const ARC_ONLY: &str =
    "a node joins with its Azure Arc identity; register it with `azure.servicePrincipal` or Azure CLI";

/// Key path → cure, for people who bring their config along. The keys are those of its
/// `docs/usages/configuration.md` and of the older names it still accepts.
const ELSEWHERE: [(&str, &str); 21] = [
    ("agent", "the node's name is `node.name` here and logs go to the journal; remove the section"),
    ("bootstrap", FIXED_IN_BUNDLE),
    ("cni", FIXED_IN_BUNDLE),
    ("components", FIXED_IN_BUNDLE),
    ("containerd", FIXED_IN_BUNDLE),
    ("kubernetes", FIXED_IN_BUNDLE),
    ("npd", FIXED_IN_BUNDLE),
    ("runc", FIXED_IN_BUNDLE),
    ("azure.arc.enabled", "a node is always registered with Azure Arc; remove the key"),
    ("azure.bootstrapToken", ARC_ONLY),
    ("azure.managedIdentity", ARC_ONLY),
    ("azure.targetAgentPoolName", "no AKS machine resource is created; remove the key"),
    ("hostRouting", "routes belong to the image's own network configuration; remove the section"),
    ("networking.cniVersion", FIXED_IN_BUNDLE),
    ("node.kubelet.caCertData", FETCHED),
    ("node.kubelet.clusterFQDN", FETCHED),
    ("node.kubelet.dnsServiceIP", "the key is `networking.dnsServiceIP`"),
    ("node.kubelet.imageGCHighThreshold", FIXED_IN_BUNDLE),
    ("node.kubelet.imageGCLowThreshold", FIXED_IN_BUNDLE),
    ("node.kubelet.serverURL", FETCHED),
    ("node.kubelet.verbosity", FIXED_IN_BUNDLE),
];

/// The cure for a key of AKS Flex Node that is unknown here.
pub(super) fn cure(key: &str) -> Option<&'static str> {
    ELSEWHERE.iter().find(|(theirs, _)| *theirs == key).map(|(_, cure)| *cure)
}
