#!/usr/bin/env bash
# Starts a Ray node for sweeps: a head, or a worker that joins one. All nodes need the same versions of Python and Ray.
#
#   scripts/start_cluster.sh head [PORT]          prints what to run on the other nodes, and the sweep's --address
#   scripts/start_cluster.sh join HOST:PORT       on every other node; the token file must be the head's
#   scripts/start_cluster.sh stop
#
# The token (RAY_AUTH_TOKEN_PATH, default ~/.ray/auth_token) keeps strangers out: copy it to every node by a safe way.
# The dashboard is off; nothing but Ray's own ports listens beyond loopback.
set -euo pipefail

export RAY_AUTH_MODE="${RAY_AUTH_MODE:-token}"
export RAY_AUTH_TOKEN_PATH="${RAY_AUTH_TOKEN_PATH:-$HOME/.ray/auth_token}"
export RAY_USAGE_STATS_ENABLED=0 OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 NUMBA_NUM_THREADS=1

usage() { sed -n '2,9p' "$0" | sed 's/^# \{0,1\}//' >&2; exit 2; }

case "${1:-}" in
  head)
    port="${2:-6379}"
    if [ ! -s "$RAY_AUTH_TOKEN_PATH" ]; then
      mkdir -p "$(dirname "$RAY_AUTH_TOKEN_PATH")"
      (umask 077 && python3 -c 'import secrets; print(secrets.token_hex(32))' > "$RAY_AUTH_TOKEN_PATH")
      echo "new token in $RAY_AUTH_TOKEN_PATH"
    fi
    ray start --head --port="$port" --include-dashboard=false --disable-usage-stats
    address="$(hostname -I 2>/dev/null | awk '{print $1}'):$port"
    echo
    echo "on every other node:  scripts/start_cluster.sh join $address"
    echo "then sweep with:      RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=$RAY_AUTH_TOKEN_PATH \\"
    echo "                      python -m sweeper run SPACE --address $address"
    ;;
  join)
    [ $# -eq 2 ] || usage
    [ -s "$RAY_AUTH_TOKEN_PATH" ] || { echo "no token at $RAY_AUTH_TOKEN_PATH: copy the head's there" >&2; exit 1; }
    ray start --address="$2" --disable-usage-stats
    ;;
  stop) ray stop ;;
  *) usage ;;
esac
