# Sourced from the repository's root: Debian's Go, and everything it writes under build/clients.
GO=${GO:-/usr/lib/go-1.19/bin/go}
GO_TOOLS=$PWD/build/clients/bin
export GOMODCACHE=$PWD/build/clients/go/modules GOCACHE=$PWD/build/clients/go/cache GOPATH=$PWD/build/clients/go
# No newer Go is fetched, and nothing that go.sum does not know. Without modcacherw `rm -r build` would need root.
export GOTOOLCHAIN=local GOFLAGS="-mod=readonly -modcacherw -trimpath" GOWORK=off GOENV=off CGO_ENABLED=0
