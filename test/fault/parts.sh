#!/usr/bin/env bash
# Installs what the fault runs need beside Go, where it is missing: PostgreSQL and
# iproute2 (Debian's packages, as root).
set -euo pipefail
if ! ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 && ! command -v postgres >/dev/null; then
  export DEBIAN_FRONTEND=noninteractive
  # The package must not start a server of its own.
  apt-get install -y -q --no-install-recommends postgresql || { apt-get update -q && apt-get install -y -q --no-install-recommends postgresql; }
fi
command -v ip >/dev/null || { apt-get install -y -q --no-install-recommends iproute2 || { apt-get update -q && apt-get install -y -q --no-install-recommends iproute2; }; }
