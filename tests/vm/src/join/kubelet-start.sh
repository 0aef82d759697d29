#!/bin/sh
# What a kubelet does first, by curl and with its own files: a token from the exec plugin, then the Node, registered and
# ready, then its lease. What it read is kept in $FLEXNODE_LAB/kubelet-read, for who wants to know whether that is still
# what is on disk. $FLEXNODE_LAB/kubelet.env, where a test writes it, sets READY: the condition to report in the end.
#
# Like the real one it goes on trying, in the background. Unlike that, it ends when it has done so once, when another
# takes its place or its lab goes, and after some minutes in any case.
set -u
[ ! -e "$FLEXNODE_LAB/kubelet.env" ] || . "$FLEXNODE_LAB/kubelet.env"
ready=${READY:-'"type":"Ready","status":"True","reason":"KubeletReady","message":"kubelet is posting ready status"'}
# A Node is registered before its kubelet knows how it is.
unready='"type":"Ready","status":"False","reason":"KubeletNotReady","message":"[container runtime status check may not have completed yet]"'
root=$FLEXNODE_LAB/root
read=$FLEXNODE_LAB/kubelet-read
rm -rf "$read"
mkdir "$read"
for file in etc/flexnode/kubelet.env etc/kubernetes/pki/ca.crt var/lib/kubelet/kubeconfig; do
  [ ! -e "$root/$file" ] || cp "$root/$file" "$read/"
done
server=$(sed -n 's/.*"server": "\([^"]*\)".*/\1/p' "$read/kubeconfig")
# Without the flag a kubelet takes the host's name.
name=$(sed -n 's/.*--hostname-override=\([^ ]*\).*/\1/p' "$read/kubelet.env" || :)
[ -n "$name" ] || name=$(cat "$root/etc/hostname")
# All is read. systemctl waits for that, so that two that are started one after the other do not meet; with PROMPT=1 it
# waits for the first try, so that who asks for the Node then has to ask once.
[ -n "${PROMPT-}" ] || exec 3>&-
node() {
  echo "{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{\"name\":\"$name\"},\"status\":{\"conditions\":[{$1}],\"nodeInfo\":{\"machineID\":\"$(cat "$root/etc/machine-id")\"}}}"
}
lease="{\"apiVersion\":\"coordination.k8s.io/v1\",\"kind\":\"Lease\",\"metadata\":{\"name\":\"$name\"},\"spec\":{\"holderIdentity\":\"$name\",\"leaseDurationSeconds\":40}}"
newline='
'

# One request; true if the answer is the object, or says that it is there already.
# curl's configuration comes through a pipe: every process can read arguments.
ask() {
  answer=$(printf 'header = "Authorization: Bearer %s"\n' "$token" |
    curl --silent --show-error --max-time 2 --cacert "$read/ca.crt" --config - --header "Content-Type: $2" \
      --request "$1" --data "$4" --write-out '\n%{http_code}' "$3" 2>&1) || { echo "$1 $3: $answer"; return 1; }
  case ${answer##*"$newline"}$answer in
    20[01]*'"kind":"Node"'* | 20[01]*'"kind":"Lease"'* | 409*'"reason":"AlreadyExists"'*) ;;
    *) echo "$1 $3: status ${answer##*"$newline"}"; return 1 ;;
  esac
}

join() {
  token=$("$root/var/lib/kubelet/token.sh" | sed 's/.*"token":"\([^"]*\)".*/\1/') && [ -n "$token" ] || return 1
  ask POST application/json "$server/api/v1/nodes" "$(node "$unready")" || return 1
  ask PATCH application/strategic-merge-patch+json "$server/api/v1/nodes/$name/status" "$(node "$ready")" || return 1
  ask POST application/json "$server/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases" "$lease"
}

echo "a kubelet starts: $ready"
tries=0
until join; do
  exec 3>&-
  tries=$((tries + 1))
  sleep 0.1
  [ $tries -lt 2000 ] && [ "$(cat "$FLEXNODE_LAB/units/kubelet.pid" 2>/dev/null)" = $$ ] || exit 1
done
