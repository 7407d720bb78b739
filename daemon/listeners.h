#pragma once

#include <memory>
#include <string>
#include <vector>

#include <grpcpp/grpcpp.h>

#include "absl/status/statusor.h"
#include "base/certificates.h"

// The daemon's gRPC listeners. FAILED_PRECONDITION `CANNOT_LISTEN` naming the configuration's field
// where an address cannot be had; `*port` is the one listened on, also where port 0 was asked for.

namespace finetuned {

// With `tls` the listener speaks TLS, and with `ask_clients` it refuses whoever shows no
// certificate that the store's authorities have signed. Null: plain, for loopback.
struct GrpcListener {
  const char* field = "";
  std::string address;
  const CertificateStore* tls = nullptr;
  bool ask_clients = false;
  bool reflection = false;
  std::vector<grpc::Service*> services;
};
absl::StatusOr<std::unique_ptr<grpc::Server>> Listen(const GrpcListener& listener, int* port);

}  // namespace finetuned
