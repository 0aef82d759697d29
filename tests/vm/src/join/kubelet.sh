#!/bin/sh
# A stand-in kubelet of the join lab: tells its version and refuses all else. What it does when it is started is in
# kubelet-start.sh.
[ "$*" = --version ] || { echo "this kubelet is a stand-in of the Flexnode lab and cannot do \`$*\`" >&2; exit 1; }
echo "Kubernetes vVERSION"
