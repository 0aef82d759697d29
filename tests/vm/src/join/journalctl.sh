#!/bin/sh
# A stand-in journalctl of the join lab: the last lines that a unit's stand-in has said.
unit='' lines=10
while [ $# -gt 0 ]; do
  case $1 in
    --unit) unit=$2; shift ;;
    --lines) lines=$2; shift ;;
  esac
  shift
done
[ ! -e "$FLEXNODE_LAB/$unit.log" ] || tail -n "$lines" "$FLEXNODE_LAB/$unit.log"
