#include "cli/health.h"

#include <google/protobuf/wrappers.pb.h>
#include <grpc/support/time.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <vector>

#include "base/grpc_status.h"
#include "cli/errors.h"

namespace finetuned::cli {
namespace {

constexpr char kMethod[] = "/grpc.health.v1.Health/Check";
constexpr uint32_t kServing = 1;

}  // namespace

absl::StatusOr<Health> AskHealth(const std::shared_ptr<grpc::Channel>& channel,
                                 absl::Duration limit, Interrupt& interrupt) {
  grpc::ClientContext context;
  context.set_deadline(
      gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                   gpr_time_from_millis(absl::ToInt64Milliseconds(limit), GPR_TIMESPAN)));
  // The request for the server as a whole is the empty message.
  const grpc::Slice nothing;
  const grpc::ByteBuffer request(&nothing, 1);
  grpc::ByteBuffer response;
  grpc::Status status;
  grpc::CompletionQueue queue;
  {
    const Interrupt::Scope scope(interrupt, [&context] { context.TryCancel(); });
    grpc::GenericStub stub(channel);
    const auto call = stub.PrepareUnaryCall(&context, kMethod, request, &queue);
    call->StartCall();
    call->Finish(&response, &status, nullptr);
    void* tag = nullptr;
    bool ok = false;
    queue.Next(&tag, &ok);
  }
  queue.Shutdown();
  if (interrupt.requested()) return InterruptedError();
  if (!status.ok()) return FromGrpc(status);
  std::string bytes;
  std::vector<grpc::Slice> slices;
  if (!response.Dump(&slices).ok()) return absl::InternalError("the answer cannot be read");
  for (const grpc::Slice& slice : slices) {
    bytes.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  }
  // HealthCheckResponse has one field, a number with the tag 1, as this message has.
  google::protobuf::UInt32Value answer;
  if (!answer.ParseFromString(bytes)) return absl::InternalError("the answer cannot be read");
  Health health;
  health.serving = answer.value() == kServing;
  const auto& metadata = context.GetServerInitialMetadata();
  if (const auto date = metadata.find("date"); date != metadata.end()) {
    health.date = ParseHttpDate(std::string(date->second.data(), date->second.size()));
  }
  return health;
}

std::optional<absl::Time> ParseHttpDate(const std::string& text) {
  absl::Time time;
  std::string error;
  if (!absl::ParseTime("%a, %d %b %Y %H:%M:%S GMT", text, &time, &error)) return std::nullopt;
  return time;
}

}  // namespace finetuned::cli
