#!/usr/bin/env bash
# Installs what building, testing and running need on Debian 12, and makes the trainer's Python environment.
#
#   install_deps.sh [--test]     --test adds what only the tests need
#
# Does nothing when all of it is there. Uses sudo when it is not run as root.
set -euo pipefail
cd "$(dirname "$0")/.."
packages=(
  # build
  g++ cmake ninja-build ccache mold pkg-config python3
  libgrpc++-dev protobuf-compiler protobuf-compiler-grpc libprotobuf-dev libabsl-dev libpqxx-dev prometheus-cpp-dev
  libspdlog-dev libcli11-dev libyaml-cpp-dev nlohmann-json3-dev libssl-dev libgtest-dev libgmock-dev
  # run
  postgresql-15 python3-torch libopenblas0-pthread python3-venv
)
[ "${1:-}" = --test ] && packages+=(clang-format)
sudo=
[ "$(id -u)" = 0 ] || sudo=sudo
missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
  if [ -n "$sudo" ] && ! command -v sudo >/dev/null; then
    echo "These packages are missing and there is no sudo: run as root: apt-get install ${missing[*]}" >&2
    exit 1
  fi
  echo "Installing ${#missing[@]} Debian packages (about 1 GB unpacked the first time) ..."
  # Neither the default cluster of Postgres nor Debian's own Prometheus server is wanted.
  if [ ! -e /etc/postgresql-common/createcluster.conf ]; then
    $sudo mkdir -p /etc/postgresql-common
    echo 'create_main_cluster = false' | $sudo tee /etc/postgresql-common/createcluster.conf >/dev/null
  fi
  # Where a container shares its host's certificates read-only, Debian's ssl-cert, which Postgres depends on, cannot write
  # its self-signed pair and fails, unless it finds one. The pair is used by nothing here.
  if [ -e /etc/ssl/certs/ssl-cert-snakeoil.pem ] && ! $sudo test -e /etc/ssl/private/ssl-cert-snakeoil.key &&
     ! $sudo test -w /etc/ssl/certs; then
    $sudo mkdir -p -m 710 /etc/ssl/private
    $sudo touch /etc/ssl/private/ssl-cert-snakeoil.key
  fi
  mkdir -p build
  log=build/apt.log
  if ! { $sudo apt-get update -qq &&
         $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
           -o Dpkg::Options::=--force-confold "${missing[@]}"; } >"$log" 2>&1 </dev/null; then
    tail -n 20 "$log" >&2
    echo "The packages could not be installed; all of apt's output is in $log" >&2
    exit 1
  fi
fi

# The tests scrape with a real Prometheus. Only its programs are wanted, not the service its package starts.
if [ "${1:-}" = --test ] && [ ! -x build/prometheus/usr/bin/promtool ]; then
  echo "Unpacking Prometheus for the tests ..."
  mkdir -p build/prometheus
  (cd build/prometheus && { apt-get download -qq prometheus || { $sudo apt-get update -qq && apt-get download -qq prometheus; }; }) \
    >build/prometheus.log 2>&1 || { cat build/prometheus.log >&2; exit 1; }
  dpkg -x build/prometheus/prometheus_*.deb build/prometheus
fi

# Debian's torch, with a few hash-pinned wheels beside it.
requirements=trainer/requirements.txt
[ "${1:-}" = --test ] && requirements=trainer/requirements-test.txt
venv=build/venv
stamp=$venv/.installed-$(cat trainer/requirements.txt "$requirements" | sha256sum | cut -c1-16)
if [ ! -e "$stamp" ]; then
  echo "Making the trainer's Python environment ..."
  /usr/bin/python3 -m venv --system-site-packages "$venv"
  for file in trainer/requirements.txt "$requirements"; do
    "$venv/bin/python3" -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r "$file"
  done
  touch "$stamp"
fi
