#include "daemon/listeners.h"

#include <algorithm>
#include <utility>

#include <grpcpp/impl/server_builder_option.h>
#include <grpcpp/impl/server_builder_plugin.h>

#include "absl/strings/str_cat.h"
#include "base/grpc_tls.h"
#include "base/status.h"

namespace finetuned {
namespace {

constexpr int kMaxReceiveBytes = 1 << 20;
constexpr int kMaxMetadataBytes = 8 << 10;
constexpr int kMaxStreamsPerConnection = 1000;

void SetLimits(grpc::ServerBuilder* builder) {
  builder->SetMaxReceiveMessageSize(kMaxReceiveBytes);
  // Without this a second daemon on the same port would start, silently.
  builder->AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder->AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, kMaxMetadataBytes);
  builder->AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kMaxStreamsPerConnection);
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, 60000);
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 20000);
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder->AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 10000);
  // A small compressed message may inflate to a large one: only what is sent as it is is taken.
  builder->AddChannelArgument(GRPC_COMPRESSION_CHANNEL_ENABLED_ALGORITHMS_BITSET, 1);
}

// gRPC's reflection library adds itself to every server of a program that is linked with it. This
// takes it out again.
class NoReflection final : public grpc::ServerBuilderOption {
 public:
  void UpdateArguments(grpc::ChannelArguments*) override {}
  void UpdatePlugins(std::vector<std::unique_ptr<grpc::ServerBuilderPlugin>>* plugins) override {
    const auto is_reflection = [](const std::unique_ptr<grpc::ServerBuilderPlugin>& plugin) {
      return plugin->name() == "proto_server_reflection";
    };
    plugins->erase(std::remove_if(plugins->begin(), plugins->end(), is_reflection), plugins->end());
  }
};

}  // namespace

absl::StatusOr<std::unique_ptr<grpc::Server>> Listen(const GrpcListener& listener, int* port) {
  grpc::ServerBuilder builder;
  SetLimits(&builder);
  if (!listener.reflection) builder.SetOption(std::make_unique<NoReflection>());
  builder.AddListeningPort(listener.address,
                           listener.tls == nullptr
                               ? grpc::InsecureServerCredentials()
                               : ServerTlsCredentials(*listener.tls, listener.ask_clients),
                           port);
  for (grpc::Service* service : listener.services) builder.RegisterService(service);
  std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server == nullptr || *port == 0) {
    return MakeError(
        absl::StatusCode::kFailedPrecondition, "CANNOT_LISTEN",
        absl::StrCat(listener.field, ": cannot listen on ", listener.address,
                     ": it is taken by another process or not an address of this host; "
                     "stop that process or choose another port"));
  }
  return server;
}

}  // namespace finetuned
