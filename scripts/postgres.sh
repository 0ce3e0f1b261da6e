#!/usr/bin/env bash
# A PostgreSQL server for tests, in a folder of its own: `scripts/postgres.sh start FOLDER` prints its
# address, `stop FOLDER` ends it. As root, it runs as the user postgres, which it does not accept root as.
set -euo pipefail
folder=$2
bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | tail -1 || true)
[ -n "$bin" ] || bin=$(dirname "$(command -v pg_ctl)")
as() { if [ "$(id -u)" = 0 ]; then runuser -u postgres -- "$@"; else "$@"; fi; }
case $1 in
start)
  mkdir -p "$folder"
  [ "$(id -u)" != 0 ] || chown postgres "$folder"
  cd "$folder"
  as "$bin/initdb" --no-sync --auth=trust --username=postgres --encoding=UTF8 -D "$folder/data" >/dev/null
  for port in $(shuf -i 20000-45000 -n 5); do
    if as "$bin/pg_ctl" -D "$folder/data" -w -t 30 -l "$folder/log" \
      -o "-p $port -k $folder -c listen_addresses=127.0.0.1 -c fsync=off" start >/dev/null; then
      echo "postgresql://postgres@127.0.0.1:$port/postgres"
      exit 0
    fi
  done
  cat "$folder/log" >&2
  exit 1
  ;;
stop) cd / && as "$bin/pg_ctl" -D "$folder/data" -m immediate stop >/dev/null ;;
esac
