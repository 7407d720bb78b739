# Everything the project is built on, each with a sentence that says what to install.

# A macro: some find modules leave variables that later ones need.
macro(require_package name debian)
  find_package(${name} ${ARGN} QUIET GLOBAL)
  if(NOT ${name}_FOUND)
    message(FATAL_ERROR "${name} was not found. On Debian 12: apt-get install ${debian}   (or run: make deps)")
  endif()
  message(STATUS "Found ${name} ${${name}_VERSION}")
endmacro()

require_package(Threads "libc6-dev")
require_package(Protobuf "libprotobuf-dev protobuf-compiler")
require_package(absl "libabsl-dev" CONFIG)
require_package(gRPC "libgrpc++-dev protobuf-compiler-grpc" CONFIG)
require_package(prometheus-cpp "prometheus-cpp-dev" CONFIG)
require_package(GTest "libgtest-dev libgmock-dev")
require_package(OpenSSL "libssl-dev")
require_package(spdlog "libspdlog-dev" CONFIG)
require_package(CLI11 "libcli11-dev" CONFIG)
require_package(yaml-cpp "libyaml-cpp-dev" CONFIG)
require_package(nlohmann_json "nlohmann-json3-dev" CONFIG)
require_package(PkgConfig "pkg-config")
# libpqxx ships no CMake package on Debian.
pkg_check_modules(PQXX IMPORTED_TARGET GLOBAL libpqxx)
if(NOT PQXX_FOUND)
  message(FATAL_ERROR "libpqxx was not found. On Debian 12: apt-get install libpqxx-dev   (or run: make deps)")
endif()
# Nor does cpp-httplib.
pkg_check_modules(HTTPLIB IMPORTED_TARGET GLOBAL cpp-httplib)
if(NOT HTTPLIB_FOUND)
  message(FATAL_ERROR "cpp-httplib was not found. On Debian 12: apt-get install libcpp-httplib-dev   (or run: make deps)")
endif()

