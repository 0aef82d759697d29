#!/bin/sh
# Brings the bundle's container images into containerd, for flexnode-images.service. Only what is missing or was cut off
# is done, so it is cheap where all is well.
set -eu

images=${FLEXNODE_IMAGES:-/usr/share/flexnode/images}
state=${FLEXNODE_STATE:-/var/lib/flexnode}
root=${FLEXNODE_CONTAINERD_ROOT:-/var/lib/containerd}
# There from before an import until its bytes are on the disk.
due=$state/images-import-due
pin=io.cri-containerd.pinned

ctr_images() { ctr --namespace k8s.io images "$@"; }

# Reads "NAME DIGEST" lines and prints the names of those that are not there as they must be: complete, unpacked, of
# that digest.
lacking() {
    ready=$(ctr_images check --quiet)
    known=$(ctr_images ls)
    while read -r name digest; do
        if ! printf '%s\n' "$ready" | grep -qxF -- "$name" ||
            ! printf '%s\n' "$known" | awk -v n="$name" -v d="$digest" '$1 == n && $3 == d { f = 1 } END { exit !f }'; then
            printf '%s\n' "$name"
        fi
    done
}

# Removes the images under all of their names, those that the CRI gave them (sha256:...) among them: as long as one is
# left, blobs and snapshots stay. What containers use stays too.
forget() {
    ctr_images ls | awk 'NR == FNR { ours[$2] = 1; next } $3 in ours { print $1 }' "$images/names" - |
        xargs -r ctr --namespace k8s.io images rm --sync >/dev/null
}

# What an import that was cut off has unpacked may be files without their content: containerd does not sync them.
if [ -e "$due" ]; then
    echo "an import was cut off: doing it again" >&2
    forget
fi

missing=$(lacking <"$images/names")
if [ -n "$missing" ]; then
    echo "importing images:" "$missing" >&2
    : >"$due"
    sync "$due" "$state"
    # A record whose blobs are gone would keep containerd from taking them in again.
    for name in $missing; do
        if ctr_images ls --quiet | grep -qxF -- "$name"; then
            forget
        fi
    done
    # containerd verifies each blob. If tar fails, the archive has no end, and the import fails too.
    tar -C "$images" -cf - oci-layout index.json blobs | ctr_images import - >/dev/null
    missing=$(lacking <"$images/names")
    if [ -n "$missing" ]; then
        echo "still missing after the import:" "$missing" >&2
        exit 1
    fi
    sync -f "$root"
fi

# Pinned, the kubelet's garbage collection leaves them alone. Those of an older bundle are no longer ours.
ctr_images ls | while read -r name _ _ _ _ _ labels; do
    ours=no
    if cut -d' ' -f1 "$images/names" | grep -qxF -- "$name"; then
        ours=yes
    fi
    case $labels in
    *flexnode.bundle=yes*) pinned=yes ;;
    *) pinned=no ;;
    esac
    case $ours$pinned in
    yesno) ctr_images label "$name" "$pin=pinned" flexnode.bundle=yes >/dev/null ;;
    noyes) ctr_images label "$name" "$pin=" flexnode.bundle= >/dev/null ;;
    esac
done
rm -f "$due"
