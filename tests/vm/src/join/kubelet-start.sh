#!/bin/sh
# What a kubelet does first, by curl: a token from the exec plugin, then the Node, registered and ready.
set -eu
. "$FLEXNODE_LAB/kubelet.env"
token=$("$TOKEN_SCRIPT" | sed 's/.*"token":"\([^"]*\)".*/\1/')
node="{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{\"name\":\"$NODE\"},\"status\":{\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}],\"nodeInfo\":{\"machineID\":\"$(cat "$MACHINE_ID")\"}}}"
# curl's configuration comes through a pipe: every process can read arguments.
ask() {
  printf 'header = "Authorization: Bearer %s"\n' "$token" |
    curl --silent --show-error --cacert "$CA" --config - --header "Content-Type: $2" --request "$1" --data "$node" "$3" >/dev/null
}
ask POST application/json "$SERVER/api/v1/nodes"
ask PATCH application/strategic-merge-patch+json "$SERVER/api/v1/nodes/$NODE/status"
