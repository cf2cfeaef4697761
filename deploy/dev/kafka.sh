#!/usr/bin/env bash
# A single Apache Kafka node on loopback, for tests and for trying Picket against the real thing.
#
#   kafka.sh start [--dir DIR] [--port PORT] [--tls DIR] [--with PID]
#                                                          format if new, start, wait, print host:port
#   kafka.sh stop  [--dir DIR]                             stop it, and wait until it is gone
#   kafka.sh classpath                                     fetch the jars, print the classpath
#
# PORT is the plaintext listener (default 9092); PORT+1 is the controller's.
# --tls DIR adds listeners with the certificates in DIR (server.pem: key and chain, ca.pem: who may
# sign clients): PORT+2 TLS, PORT+3 TLS that asks for a client certificate, PORT+4 SASL over TLS,
# PORT+5 SASL in plaintext; users picket and limited, both with the password "picket-dev";
# plaintext clients, picket and the certificate CN=client may do everything, limited nothing.
# --with PID stops it when that process ends, however it ends.
# Needs Java 17 or newer, and Maven for the first start; after that it works offline.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${PICKET_CACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/picket}/kafka
dir=${TMPDIR:-/tmp}/picket-kafka-$(id -u)
port=9092
tls=
with=

die() { echo "kafka.sh: $*" >&2; exit 1; }

need_java() {
  command -v java >/dev/null || die "java is not installed; install a JDK or JRE, 17 or newer (Debian: apt-get install default-jre-headless)"
  local v
  v=$(java -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -1)
  [ "${v:-0}" -ge 17 ] || die "java is version ${v:-unknown}; Apache Kafka needs 17 or newer"
}

# The classpath is kept under the pom's checksum, so that a new version is fetched once.
classpath() {
  local key file jar ok=1
  key=$(cksum <"$here/kafka/pom.xml" | tr -d ' ')
  file=$cache/classpath-$key
  if [ -s "$file" ]; then
    local IFS=:
    for jar in $(cat "$file"); do [ -f "$jar" ] || ok=; done
    if [ -n "$ok" ]; then cat "$file"; return; fi
  fi
  command -v mvn >/dev/null || die "mvn is not installed, and Kafka's jars are not fetched yet; install Maven (Debian: apt-get install maven)"
  mkdir -p "$cache"
  local tmp log
  tmp=$(mktemp "$cache/classpath.XXXXXX")
  log=$tmp.log
  echo "kafka.sh: fetching Apache Kafka's jars with Maven (once)" >&2
  if ! mvn -q -B -f "$here/kafka/pom.xml" dependency:build-classpath -Dmdep.outputFile="$tmp" -DincludeScope=runtime >"$log" 2>&1; then
    tail -30 "$log" >&2
    rm -f "$tmp" "$log"
    die "Maven could not fetch Kafka's jars (its last lines are above)"
  fi
  rm -f "$log"
  mv "$tmp" "$file"
  cat "$file"
}

config() {
  local listeners="PLAINTEXT://127.0.0.1:$port" map="PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT"
  if [ -n "$tls" ]; then
    listeners+=",TLS://127.0.0.1:$((port + 2)),MTLS://127.0.0.1:$((port + 3)),SASLTLS://127.0.0.1:$((port + 4)),SASL://127.0.0.1:$((port + 5))"
    map+=",TLS:SSL,MTLS:SSL,SASLTLS:SASL_SSL,SASL:SASL_PLAINTEXT"
  fi
  cat <<EOF
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:$((port + 1))
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listeners=$listeners,CONTROLLER://127.0.0.1:$((port + 1))
advertised.listeners=$listeners
listener.security.protocol.map=$map
log.dirs=$dir/data
offsets.topic.num.partitions=4
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=2
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
auto.create.topics.enable=false
num.network.threads=2
num.io.threads=4
log.cleaner.dedupe.buffer.size=20000000
EOF
  [ -n "$tls" ] || return 0
  cat <<EOF
ssl.keystore.type=PEM
ssl.keystore.location=$tls/server.pem
ssl.truststore.type=PEM
ssl.truststore.location=$tls/ca.pem
ssl.enabled.protocols=TLSv1.3,TLSv1.2
listener.name.mtls.ssl.client.auth=required
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS;User:picket;User:CN=client
EOF
  local l
  for l in sasltls sasl; do
    cat <<EOF
listener.name.$l.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512
listener.name.$l.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_picket="picket-dev" user_limited="picket-dev";
listener.name.$l.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.$l.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
EOF
  done
}

running() { [ -s "$dir/pid" ] && kill -0 "$(cat "$dir/pid")" 2>/dev/null; }

start() {
  need_java
  running && die "already running as process $(cat "$dir/pid") in $dir; stop it first"
  local cp jvm
  cp=$(classpath)
  mkdir -p "$dir"
  config >"$dir/server.properties"
  jvm=(java -Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xshare:auto
    -Dorg.slf4j.simpleLogger.defaultLogLevel=info -cp "$cp")
  # Its log says then which rights were asked for.
  if [ -n "$tls" ]; then jvm=("${jvm[@]:0:1}" -Dorg.slf4j.simpleLogger.log.kafka.authorizer.logger=debug "${jvm[@]:1}"); fi
  if [ ! -f "$dir/data/meta.properties" ]; then
    local scram=() u
    if [ -n "$tls" ]; then
      for u in picket limited; do
        scram+=(--add-scram "SCRAM-SHA-256=[name=$u,password=picket-dev]" --add-scram "SCRAM-SHA-512=[name=$u,password=picket-dev]")
      done
    fi
    "${jvm[@]}" kafka.tools.StorageTool format --standalone -t "$(head -c 16 /dev/urandom | base64 | tr '+/' '-_' | tr -d '=' | sed 's/^-/A/')" \
      -c "$dir/server.properties" ${scram[@]+"${scram[@]}"} >"$dir/format.log" 2>&1 || { tail -20 "$dir/format.log" >&2; die "formatting $dir/data did not work"; }
  fi
  # A session of its own: Ctrl-C in the terminal that started it does not stop it.
  local own=
  if command -v setsid >/dev/null; then own=setsid; fi
  nohup $own "${jvm[@]}" kafka.Kafka "$dir/server.properties" >"$dir/kafka.log" 2>&1 </dev/null &
  echo $! >"$dir/pid"
  local i
  for i in $(seq 600); do
    if ! running; then
      rm -f "$dir/pid"
      grep -E "ERROR|Exception|in use" "$dir/kafka.log" | tail -5 >&2
      die "Kafka ended while starting; its log is $dir/kafka.log"
    fi
    if grep -q "Kafka Server started" "$dir/kafka.log" && (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
      if [ -n "$with" ]; then watch "$(cat "$dir/pid")" </dev/null >/dev/null 2>&1 & fi
      echo "127.0.0.1:$port"
      return
    fi
    sleep 0.1
  done
  stop
  die "Kafka did not start in 60 s; its log is $dir/kafka.log"
}

watch() {
  while kill -0 "$with" && kill -0 "$1"; do sleep 1; done
  kill "$1"
}

stop() {
  running || { rm -f "$dir/pid"; return 0; }
  local pid i
  pid=$(cat "$dir/pid")
  kill "$pid"
  for i in $(seq 100); do
    running || break
    [ "$i" = 80 ] && kill -9 "$pid"
    sleep 0.1
  done
  rm -f "$dir/pid"
}

cmd=${1:-}
shift || true
while [ $# -gt 0 ]; do
  case $1 in
    --dir) dir=${2:?--dir needs a directory}; shift 2 ;;
    --port) port=${2:?--port needs a number}; shift 2 ;;
    --tls) tls=${2:?--tls needs a directory}; shift 2 ;;
    --with) with=${2:?--with needs a process id}; shift 2 ;;
    *) die "unknown option $1" ;;
  esac
done
case $cmd in
  start) start ;;
  stop) stop ;;
  classpath) need_java; classpath; echo ;;
  *) sed -n '2,19s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 64 ;;
esac
