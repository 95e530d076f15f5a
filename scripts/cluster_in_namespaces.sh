#!/usr/bin/env bash
# Sweeps on a Ray cluster of three nodes, each in a network namespace of its own, and kills one of them in the middle.
#
#   sudo scripts/cluster_in_namespaces.sh [SPACE] [TRIALS]      default: search_spaces/npu_pim.yaml, 400
#
# Real `ray start` nodes behind a bridge: own addresses, host names, /tmp/ray, one CPU each, a common token. When a
# quarter of the trials is written, every process of node 2 gets SIGKILL and its link is cut. Prints how the sweep ended
# and which node made how many trials; exit code 1 where a trial is missing or doubled. Needs root, `ip` and namespaces.
set -euo pipefail
cd "$(dirname "$0")/.."

space="${1:-search_spaces/npu_pim.yaml}" trials="${2:-400}"
python="${PYTHON:-.venv/bin/python}"
bin="$(cd "$(dirname "$python")" && pwd)"
tag="sw$$" net="10.77.0" port=6390
work="$(mktemp -d "${TMPDIR:-/tmp}/cluster.XXXXXX")"

[ "$(id -u)" = 0 ] || { echo "network namespaces need root: run this with sudo" >&2; exit 2; }
ip netns add "$tag-1" 2>/dev/null || { echo "network namespaces are not permitted here (ip netns add failed)" >&2; exit 2; }

in_node() { n="$1"; shift; ip netns exec "$tag-$n" "$@"; }
kill_node() { ip netns pids "$tag-$1" 2>/dev/null | xargs -r kill -9 2>/dev/null || true; }
cleanup() {
  for n in 1 2 3; do kill_node "$n"; done
  for n in 1 2 3; do ip netns del "$tag-$n" 2>/dev/null || true; done
  ip link del "$tag" 2>/dev/null || true
  echo "logs and results: $work"
}
trap cleanup EXIT

# one bridge, three machines
ip link add "$tag" type bridge
ip link set "$tag" up
for n in 1 2 3; do
  [ "$n" = 1 ] || ip netns add "$tag-$n"
  ip link add "$tag-$n" type veth peer name eth0 netns "$tag-$n"
  ip link set "$tag-$n" master "$tag" up
  in_node "$n" ip address add "$net.$n/24" dev eth0
  in_node "$n" ip link set eth0 up
  in_node "$n" ip link set lo up
done

(umask 077 && "$python" -c 'import secrets; print(secrets.token_hex(32))' > "$work/token")
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH="$work/token" RAY_USAGE_STATS_ENABLED=0
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 NUMBA_NUM_THREADS=1

# what runs on a node sees its own host name and its own /tmp/ray
on_node() {
  local n="$1"; shift
  mkdir -p "$work/ray-$n" /tmp/ray
  in_node "$n" unshare --uts sh -c 'hostname "node$0"; mount --bind "$1" /tmp/ray; shift; exec "$@"' "$n" "$work/ray-$n" "$@"
}
start="$bin/ray start --node-ip-address=$net"
store="--object-store-memory=100000000 --num-cpus=1 --disable-usage-stats --block"
# shellcheck disable=SC2086
on_node 1 $start.1 --head --port=$port --include-dashboard=false $store > "$work/node1.log" 2>&1 &
for _ in $(seq 60); do in_node 1 sh -c "exec 3<>/dev/tcp/$net.1/$port" 2>/dev/null && break || grep -q 'Ray runtime started' "$work/node1.log" && break; sleep 1; done
for n in 2 3; do
  # shellcheck disable=SC2086
  on_node "$n" $start.$n --address=$net.1:$port $store > "$work/node$n.log" 2>&1 &
done
for n in 2 3; do for _ in $(seq 60); do grep -q 'Ray runtime started' "$work/node$n.log" && break; sleep 1; done; done
echo "three nodes: $net.1:$port (head), $net.2, $net.3"

on_node 1 "$bin/python" -m sweeper run "$space" --trials "$trials" --address "$net.1:$port" --out "$work/study" &
driver=$!
count() { [ -f "$work/study/trials.jsonl" ] && wc -l < "$work/study/trials.jsonl" || echo 0; }
while [ "$(count)" -lt $((trials / 4)) ] && kill -0 $driver 2>/dev/null; do sleep 0.1; done
echo "killing node 2 after $(count) trials"
kill_node 2
ip link set "$tag-2" down
wait $driver

"$python" - "$work/study/trials.jsonl" "$trials" <<'PYTHON'
import collections, json, sys
trials = [json.loads(line) for line in open(sys.argv[1])][1:]
numbers = [t["number"] for t in trials]
print("trials by node:", dict(collections.Counter(t["worker"].split(":")[0] for t in trials)))
print("by status:", dict(collections.Counter(t["status"] for t in trials)),
      "sent again:", sum(t["attempt"] > 1 for t in trials))
complete = sorted(numbers) == list(range(int(sys.argv[2])))
print("every trial is there once" if complete else "TRIALS ARE MISSING OR DOUBLED")
sys.exit(not complete)
PYTHON
