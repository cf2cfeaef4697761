#!/usr/bin/env bash
# The rights that Picket needs on a Kafka with ACLs, and no others, granted with kafka-acls.sh.
#
#   acls.sh run      User:picket        picket run, and picket topics verify
#   acls.sh setup    User:picket-setup  picket topics create
#   acls.sh operate  User:oncall        picket audit, and picket dead list|show|redrive
#   acls.sh produce  User:mcp           servers and taps that send events; nothing else
#
# KAFKA_ACLS is the command, with how to reach the cluster as an administrator:
#
#   KAFKA_ACLS='kafka-acls.sh --bootstrap-server kafka:9092 --command-config admin.properties'
#
# By default it is "echo kafka-acls.sh", which only shows what would be done. EVENTS, SIGNALS, ALERTS,
# DELIVERIES, DEAD and PREFIX stand for kafka.topics.* and kafka.group_prefix.
# A client certificate's principal is its subject: 'User:CN=picket,O=example'.
set -euo pipefail

events=${EVENTS:-mcp.events} signals=${SIGNALS:-picket.signals} alerts=${ALERTS:-picket.alerts}
deliveries=${DELIVERIES:-picket.deliveries} dead=${DEAD:-picket.dead} prefix=${PREFIX:-picket}
meta=picket.meta

usage() { sed -n '2,15s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 64; }

# topic NAME OPERATION... ; Read and Write include Describe.
topic() { allow --topic "$@"; }
group() { allow --group "$@"; }

allow() {
  local what=$1 name=$2 ops=() op
  shift 2
  for op in "$@"; do ops+=(--operation "$op"); done
  if [ "$what" = --group ] && [ "${name%.}" != "$name" ]; then ops+=(--resource-pattern-type prefixed); fi
  # shellcheck disable=SC2086 # a command with its options
  ${KAFKA_ACLS:-echo kafka-acls.sh} --add --allow-principal "$user" "${ops[@]}" "$what" "$name"
}

user=${2:-}
case $user in User:?*) ;; *) usage ;; esac
case $1 in
  run)
    topic "$events" Read DescribeConfigs
    topic "$signals" Read Write DescribeConfigs
    topic "$alerts" Read Write DescribeConfigs
    topic "$deliveries" Read Write DescribeConfigs
    topic "$dead" Write DescribeConfigs # raw values: only written
    topic "$meta" Read
    group "$prefix." Read
    ;;
  setup)
    for t in "$events" "$signals" "$alerts" "$deliveries" "$dead"; do
      topic "$t" Create Describe DescribeConfigs
    done
    topic "$meta" Create Read Write
    ;;
  operate)
    topic "$events" Read Write # raw values: redrive sends them again
    topic "$dead" Read Write
    group "$prefix.store" Describe
    ;;
  produce)
    topic "$events" Write
    ;;
  *) usage ;;
esac
