#!/bin/sh
# A stand-in az: somebody is logged in to one tenant, and `account get-access-token` is all that it can do. It refuses
# what the real one refuses, in its words; the token lies in $FLEXNODE_LAB/az-token and the tenant in az-tenant.
set -eu
refuse() {
  printf 'ERROR: %s\n' "$2" >&2
  exit "$1"
}
wait_if_told() {
  # Opening a pipe waits for its other end.
  [ ! -p "$FLEXNODE_LAB/az-pause" ] || read -r _ <"$FLEXNODE_LAB/az-pause"
}
[ "${1-} ${2-}" = 'account get-access-token' ] || refuse 2 "'${1-}' is misspelled or not recognized by the system."
shift 2
scope='' tenant=''
while [ $# -gt 0 ]; do
  case $1 in
    --output | -o) [ "${2-}" = json ] || refuse 2 "argument --output/-o: invalid choice: '${2-}'"; shift 2 ;;
    --scope) [ $# -gt 1 ] || refuse 2 'argument --scope: expected at least one argument'; scope=$2; shift 2 ;;
    --tenant | -t) [ $# -gt 1 ] || refuse 2 'argument --tenant/-t: expected one argument'; tenant=$2; shift 2 ;;
    *) refuse 2 "unrecognized arguments: $1" ;;
  esac
done
[ -e "$FLEXNODE_LAB/az-tenant" ] || refuse 1 "Please run 'az login' to setup account."
[ "$tenant" = "$(cat "$FLEXNODE_LAB/az-tenant")" ] || refuse 1 "AADSTS50020: no account in tenant '$tenant'."
case $scope in
  https://management.*/.default) ;;
  *) refuse 1 "AADSTS70011: The provided request must include a 'scope' input parameter." ;;
esac
wait_if_told
read -r token <"$FLEXNODE_LAB/az-token"
expires=$(($(date +%s) + 3600))
printf '{\n  "accessToken": "%s",\n  "expiresOn": "%s",\n  "expires_on": %s,\n' "$token" \
  "$(date -d "@$expires" '+%Y-%m-%d %H:%M:%S.000000')" "$expires"
printf '  "subscription": "44654aed-2753-4b88-9142-af7132933b6b",\n  "tenant": "%s",\n  "tokenType": "Bearer"\n}\n' "$tenant"
