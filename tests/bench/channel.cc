#include "tests/bench/channel.h"

#include <vector>

namespace finetuned::bench {

std::shared_ptr<grpc::Channel> MakeChannel(const std::string& address) {
  static auto* const kept = new std::vector<std::shared_ptr<grpc::Channel>>;
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  kept->push_back(
      grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments));
  return kept->back();
}

}  // namespace finetuned::bench
