#!/usr/bin/env bash
# Generates the stubs of both languages from proto/ and builds the Go client, all under build/clients. Needs what
# setup.sh has installed, and no network.
set -euo pipefail
cd "$(dirname "$0")/../.."
source tests/clients/go/environment.sh
export GOPROXY=off BUF_CACHE_DIR=$PWD/build/clients/buf
python=build/clients/python
go=build/clients/go/client
rm -rf $python $go && mkdir -p $python $go

# Google's own protos are only read here: their Python is in googleapis-common-protos, their Go in genproto.
build/clients/venv/bin/python3 -m grpc_tools.protoc -I proto -I third_party/googleapis \
  --python_out=$python --grpc_python_out=$python proto/finetuned/v1/*.proto

cp tests/clients/go/{go.mod,go.sum,*.go} $go
PATH=$GO_TOOLS:$PATH build/clients/venv/bin/buf generate --template buf.gen.yaml --path proto/finetuned/v1 -o $go/gen
cd $go
unformatted=$("${GO%/*}/gofmt" -l ./*.go)
[ -z "$unformatted" ] || { echo "not formatted as gofmt does: $unformatted" >&2; exit 1; }
"$GO" vet ./...
"$GO" build -o "$GO_TOOLS/client" .
