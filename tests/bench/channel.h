#pragma once

#include <memory>
#include <string>

#include <grpcpp/grpcpp.h>

namespace finetuned::bench {

// A connection of its own. It is there until the program ends: gRPC 1.51 frees what its client
// callbacks share twice when the last channel that has any goes.
std::shared_ptr<grpc::Channel> MakeChannel(const std::string& address);

}  // namespace finetuned::bench
