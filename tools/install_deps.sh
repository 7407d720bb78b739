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
[ "${1:-}" = --test ] && packages+=(prometheus)
missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
  sudo=
  if [ "$(id -u)" != 0 ]; then
    sudo=sudo
    command -v sudo >/dev/null || {
      echo "These packages are missing and there is no sudo: run as root: apt-get install ${missing[*]}" >&2
      exit 1
    }
  fi
  echo "Installing ${#missing[@]} Debian packages (about 1 GB unpacked the first time) ..."
  # Neither the default cluster of Postgres nor Debian's own Prometheus server is wanted.
  if [ ! -e /etc/postgresql-common/createcluster.conf ]; then
    $sudo mkdir -p /etc/postgresql-common
    echo 'create_main_cluster = false' | $sudo tee /etc/postgresql-common/createcluster.conf >/dev/null
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
