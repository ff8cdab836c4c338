#!/bin/sh
# A daemon that is a shell script, for tests/check-programs. Its heartbeat is the time stamp of the file $1. The file $2
# tells it to end.
trap 'kill 0' EXIT
trap 'trap - EXIT; exit 0' TERM
while [ ! -e "$2" ]; do
    touch "$1"
    sleep 0.1
done
trap - EXIT
