//! What a machine that has run leaves behind, by path.

use std::path::PathBuf;

use anyhow::Result;

use super::{Trace, glob, seen};
use crate::finding::Shell;
use crate::image_root::{Found, ImageRoot};

/// Where something of a kind is found.
enum Place {
    /// Files by pattern; an empty one is harmless, and so is a link to /dev/null.
    Files(&'static [&'static str]),
    /// Everything in these directories, which stay.
    Inside(&'static [&'static str]),
    /// Whatever is there, links too.
    Anything(&'static [&'static str]),
    /// Files in the homes of people.
    OfPeople(&'static [&'static str]),
    /// Everything in these directories of their homes.
    InsideOfPeople(&'static [&'static str]),
}

/// A kind of trace.
struct Kind {
    name: &'static str,
    why: &'static str,
    places: &'static [Place],
}

/// All kinds. Paths of the agent are those of `flexnode_firstboot::paths`; a test holds the two together.
const KINDS: [Kind; 15] = [
    Kind {
        name: "ssh-host-keys",
        why: "every clone would be the same host to its clients; cloud-init or `ssh-keygen -A` makes new ones",
        places: &[Place::Files(&["etc/ssh/ssh_host_*_key", "etc/ssh/ssh_host_*_key.pub"])],
    },
    Kind {
        name: "arc-state",
        why: "certificates, tokens and logs of one machine's Azure Arc agent",
        places: &[Place::Inside(&[
            "var/opt/azcmagent/certs",
            "var/opt/azcmagent/tokens",
            "var/opt/azcmagent/log",
            "var/lib/GuestConfig",
        ])],
    },
    Kind {
        name: "kubelet-identity",
        why: "a node's credentials, and the cluster that it belongs to",
        places: &[
            Place::Files(&[
                "var/lib/kubelet/kubeconfig",
                "var/lib/kubelet/.kubeconfig.partial",
                "etc/kubernetes/*.conf",
                "etc/cni/net.d/*kubeconfig",
            ]),
            Place::Inside(&["var/lib/kubelet/pki", "etc/kubernetes/pki"]),
        ],
    },
    Kind {
        name: "kubelet-state",
        why: "pods of another machine, whose volumes may hold secrets, and what was pinned to its processors",
        places: &[
            Place::Inside(&[
                "var/lib/kubelet/pods",
                "var/lib/kubelet/checkpoints",
                "var/log/pods",
                "var/log/containers",
            ]),
            Place::Files(&[
                "var/lib/kubelet/cpu_manager_state",
                "var/lib/kubelet/memory_manager_state",
                "var/lib/kubelet/dra_manager_state",
            ]),
        ],
    },
    Kind {
        name: "flexnode-state",
        why: "the join of another machine: markers, notes, and its kubelet's flags",
        places: &[Place::Anything(&[
            "var/lib/flexnode/joined.*",
            "var/lib/flexnode/joining.*",
            "var/lib/flexnode/lock",
            "var/lib/flexnode/kubelet-restart-due",
            "var/lib/flexnode/azcmagent-install-due",
            "var/lib/flexnode/state.json",
            "var/lib/flexnode/.joined.*.partial",
            "var/lib/flexnode/.joining.*.partial",
            "var/lib/flexnode/.state.json.partial",
            "etc/flexnode/kubelet.env",
            "etc/flexnode/.kubelet.env.partial",
        ])],
    },
    Kind {
        name: "systemd-credentials",
        why: "secrets of services, or ones that only the machine that encrypted them can read",
        places: &[Place::Inside(&["etc/credstore", "etc/credstore.encrypted"])],
    },
    Kind {
        name: "systemd-credential-key",
        why: "every clone could decrypt what is encrypted for another",
        places: &[Place::Files(&["var/lib/systemd/credential.secret"])],
    },
    Kind { name: "azure-cli", why: "somebody's sign-in to Azure", places: &[Place::InsideOfPeople(&[".azure"])] },
    Kind {
        name: "private-keys",
        why: "somebody's keys and passwords for other machines, clusters and registries",
        places: &[Place::OfPeople(&[
            ".ssh/id_rsa",
            ".ssh/id_dsa",
            ".ssh/id_ecdsa",
            ".ssh/id_ed25519",
            ".kube/config",
            ".docker/config.json",
            ".netrc",
            ".git-credentials",
        ])],
    },
    Kind {
        name: "histories",
        why: "what was typed, secrets among it",
        places: &[Place::OfPeople(&[
            ".bash_history",
            ".zsh_history",
            ".python_history",
            ".lesshst",
            ".viminfo",
            ".wget-hsts",
        ])],
    },
    Kind {
        name: "cloud-init",
        why: "cloud-init would take a clone for the instance that it has set up, and user data may hold secrets",
        places: &[
            Place::Anything(&["var/lib/cloud/instance"]),
            Place::Inside(&["var/lib/cloud/instances", "var/lib/cloud/data", "var/lib/cloud/sem"]),
            Place::Files(&["var/log/cloud-init.log", "var/log/cloud-init-output.log"]),
        ],
    },
    Kind {
        name: "network",
        why: "addresses and names of one machine's network cards",
        places: &[Place::Files(&["etc/netplan/50-cloud-init.yaml", "etc/udev/rules.d/*persistent-net.rules"])],
    },
    Kind {
        name: "dhcp-leases",
        why: "clones would ask for one machine's address",
        places: &[Place::Files(&[
            "var/lib/dhcp/*.lease",
            "var/lib/dhcp/*.leases",
            "var/lib/NetworkManager/*.lease",
            "var/lib/NetworkManager/secret_key",
            "var/lib/dhcpcd/duid",
            "var/lib/dhcpcd/*.lease",
        ])],
    },
    Kind {
        name: "random-seed",
        why: "clones would begin with the same random numbers",
        places: &[Place::Files(&[
            "var/lib/systemd/random-seed",
            "var/lib/urandom/random-seed",
            "boot/loader/random-seed",
            "boot/efi/loader/random-seed",
        ])],
    },
    Kind {
        name: "journal",
        why: "one machine's journal, under a machine-id that no clone has",
        places: &[Place::Inside(&["var/log/journal"])],
    },
];

pub(super) fn look(root: &ImageRoot, shell: &Shell) -> Result<Vec<Trace>> {
    let mut traces = Vec::new();
    for kind in &KINDS {
        let mut paths = Vec::new();
        for place in kind.places {
            place.find(root, &mut paths)?;
        }
        if !paths.is_empty() {
            traces.push(Trace::new(kind.name, kind.why, paths, shell));
        }
    }
    Ok(traces)
}

impl Place {
    fn find(&self, root: &ImageRoot, found: &mut Vec<PathBuf>) -> Result<()> {
        match self {
            Self::Files(patterns) => each(root, patterns, |path| file(root, path, found)),
            Self::Inside(patterns) => each(root, patterns, |path| inside(root, path, found)),
            Self::Anything(patterns) => each(root, patterns, |path| anything(root, path, found)),
            Self::OfPeople(patterns) => {
                let patterns: Vec<_> =
                    patterns.iter().flat_map(|name| HOMES.map(|home| format!("{home}/{name}"))).collect();
                each(root, &patterns, |path| file(root, path, found))
            }
            Self::InsideOfPeople(patterns) => {
                let patterns: Vec<_> =
                    patterns.iter().flat_map(|name| HOMES.map(|home| format!("{home}/{name}"))).collect();
                each(root, &patterns, |path| inside(root, path, found))
            }
        }
    }
}

/// Where people live.
const HOMES: [&str; 2] = ["root", "home/*"];

fn each(root: &ImageRoot, patterns: &[impl AsRef<str>], mut look: impl FnMut(PathBuf) -> Result<()>) -> Result<()> {
    for pattern in patterns {
        glob::matches(root, pattern.as_ref())?.into_iter().try_for_each(&mut look)?;
    }
    Ok(())
}

fn file(root: &ImageRoot, path: PathBuf, found: &mut Vec<PathBuf>) -> Result<()> {
    if matches!(seen(root, &path, root.found(&path))?, Some(Found::File { size: 1.., .. })) {
        found.push(path);
    }
    Ok(())
}

fn inside(root: &ImageRoot, path: PathBuf, found: &mut Vec<PathBuf>) -> Result<()> {
    let names = seen(root, &path, root.names(&path))?;
    found.extend(names.iter().map(|name| path.join(name)));
    Ok(())
}

fn anything(root: &ImageRoot, path: PathBuf, found: &mut Vec<PathBuf>) -> Result<()> {
    if seen(root, &path, root.found_itself(&path))?.is_some() {
        found.push(path);
    }
    Ok(())
}
