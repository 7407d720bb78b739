#!/usr/bin/env bash
# Writes rules.yaml as the PrometheusRule of the Prometheus operator, on standard output:
#   deploy/prometheus/make_prometheus_rule.sh > deploy/kubernetes/monitoring/prometheus-rule.yaml
set -euo pipefail
cd "$(dirname "$0")"
cat <<'YAML'
# Made from deploy/prometheus/rules.yaml by make_prometheus_rule.sh: change that, and run it again.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: finetuned
spec:
YAML
# From the first key on; the remarks above it are about the file.
sed -n '/^groups:/,$p' rules.yaml | sed 's/^\(.\)/  \1/'
