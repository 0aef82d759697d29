#!/bin/sh
# A stand-in systemctl of the join lab: remembers what is enabled and active under $FLEXNODE_LAB/units and writes down
# each call. Real systemd takes its place where nodes really boot.
units=$FLEXNODE_LAB/units
root=$FLEXNODE_LAB/root
[ -d "$units" ] || mkdir -p "$units"
echo "$*" >>"$FLEXNODE_LAB/systemctl.log"
verb='' unit=''
for word in "$@"; do
  case $word in
    -*) ;;
    *) if [ -z "$verb" ]; then verb=$word; else unit=$word; fi ;;
  esac
done
# What runs as the kubelet is killed. That it still is one is looked at: the number may be another program's by now.
end() {
  pid=$(cat "$units/kubelet.pid" 2>/dev/null) || return 0
  case $(tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline") in
    *"$FLEXNODE_LAB/kubelet-start"*) kill -9 -- "-$pid" ;;
  esac
  rm -f "$units/kubelet.pid"
}
case $verb in
  is-active) [ -e "$units/$unit.active" ] ;;
  is-enabled) [ -e "$units/$unit.enabled" ] ;;
  enable) : >"$units/$unit.enabled" ;;
  stop)
    case $unit in kubelet*) end ;; esac
    rm -f "$units/$unit.active"
    ;;
  start | restart)
    # As systemd skips the unit by its conditions, and calls that a success.
    case $unit in
      kubelet*)
        permit=$root/var/lib/flexnode/kubelet-may-run.$(cat "$root/etc/machine-id")
        for condition in "$permit" "$root/var/lib/kubelet/kubeconfig" "$root/etc/kubernetes/pki/ca.crt"; do
          [ -e "$condition" ] || exit 0
        done
        ;;
    esac
    : >"$units/$unit.active"
    case $unit in
      # In a session of its own: whoever waits for this program does not wait for the kubelet, and whoever kills it and
      # all that it runs does not kill the kubelet. The substitution ends when the kubelet has read its files.
      kubelet*)
        end
        : "$(
          setsid "$FLEXNODE_LAB/kubelet-start" 3>&1 </dev/null >>"$FLEXNODE_LAB/$unit.log" 2>&1 &
          echo $! >"$units/kubelet.pid"
        )"
        ;;
      himdsd*) date +%N >"$AZCMAGENT_STATE/himdsd" ;;
    esac
    ;;
  *) echo "the stand-in systemctl knows no $verb" >&2; exit 1 ;;
esac
