#!/usr/bin/env bash
# Readiness of the daemon in this container: status 0 while its last write to Postgres succeeded. The health service
# says the same, but the kubelet's gRPC probe does not speak TLS; the metrics are plain HTTP.
#
#   ready.sh [PORT]
set -euo pipefail
exec 3<>"/dev/tcp/127.0.0.1/${1:-7072}"
printf 'GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' >&3
grep -q '^finetuned_database_writable 1' <&3
