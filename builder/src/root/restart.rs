//! Which services go on with what was there before, until they are restarted.

use flexnode_firstboot::paths::{CONTAINERD_UNIT, KUBELET_UNIT};

use super::step::Step;

/// What each reads when it starts, and never again. runc, the shim and the CNI plugins are started anew each time, the
/// registries' hosts and token.sh are read anew; the agent's unit starts nothing twice.
const READ_AT_START: [(&str, &[&str]); 2] = [
    (
        CONTAINERD_UNIT,
        &["usr/local/bin/containerd", "etc/containerd/config.toml", "etc/systemd/system/containerd.service"],
    ),
    (KUBELET_UNIT, &["usr/local/bin/kubelet", "var/lib/kubelet/config.yaml", "etc/systemd/system/kubelet.service"]),
];

/// The units to restart after these steps, in the order of their start.
pub(super) fn units(steps: &[Step]) -> Vec<&'static str> {
    let changes = |path: &str| steps.iter().any(|step| step.is_change() && step.path.as_str() == path);
    let stale = READ_AT_START.iter().filter(|(_, files)| files.iter().any(|path| changes(path)));
    stale.map(|(unit, _)| *unit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::Kind;
    use crate::overlay::Mode;
    use crate::root::Action;

    fn step(action: Action, path: &str) -> Step {
        let kind = Kind::Directory { mode: Mode::DIRECTORY };
        Step { action, path: path.parse().unwrap(), kind, why: None, from: path.parse().unwrap() }
    }

    #[test]
    fn a_unit_is_named_once_if_anything_it_has_read_has_changed() {
        let changed = ["etc/containerd/config.toml", "usr/local/bin/containerd", "usr/local/bin/kubelet"];
        let steps = changed.map(|path| step(Action::Replace, path));
        assert_eq!(units(&steps), [CONTAINERD_UNIT, KUBELET_UNIT]);
        assert_eq!(units(&steps[2..]), [KUBELET_UNIT]);
    }

    #[test]
    fn what_stays_or_is_read_each_time_restarts_nothing() {
        let steps = [
            step(Action::Keep, "etc/containerd/config.toml"),
            step(Action::Beside, "etc/containerd/config.toml.flexnode-new"),
            step(Action::Replace, "usr/local/sbin/runc"),
            step(Action::Replace, "usr/local/bin/containerd-shim-runc-v2"),
        ];
        assert_eq!(units(&steps), [""; 0]);
    }
}
