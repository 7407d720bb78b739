#include "base/status.h"

#include <utility>

#include "absl/strings/cord.h"
#include "absl/strings/match.h"
#include "base/time.h"

namespace finetuned {
namespace {

constexpr char kTypePrefix[] = "type.googleapis.com/";

// An error travels in headers: its message as text and again, with the details, in base64. Clients
// take 8 KiB of them, and one that gets more sees neither code nor reason.
constexpr size_t kMaxViolationBytes = 4800;
constexpr size_t kMaxViolationMessage = 500;
// What each violation costs beside its words.
constexpr size_t kViolationOverhead = 25;

template <typename Detail>
bool GetDetail(const absl::Status& status, Detail* detail) {
  auto payload = status.GetPayload(kTypePrefix + Detail::descriptor()->full_name());
  return payload.has_value() && detail->ParseFromString(std::string(*payload));
}

}  // namespace

void AddDetail(absl::Status& status, const google::protobuf::Message& detail) {
  status.SetPayload(kTypePrefix + detail.GetDescriptor()->full_name(),
                    absl::Cord(detail.SerializeAsString()));
}

absl::Status MakeError(absl::StatusCode code, const std::string& reason, const std::string& message,
                       const std::map<std::string, std::string>& metadata) {
  absl::Status status(code, message);
  google::rpc::ErrorInfo info;
  info.set_reason(reason);
  info.set_domain(kErrorDomain);
  for (const auto& [key, value] : metadata) (*info.mutable_metadata())[key] = value;
  AddDetail(status, info);
  return status;
}

absl::Status UnavailableError(const std::string& reason, const std::string& message,
                              absl::Duration retry_delay) {
  absl::Status status = MakeError(absl::StatusCode::kUnavailable, reason, message);
  google::rpc::RetryInfo retry;
  *retry.mutable_retry_delay() = ToProtoDuration(retry_delay);
  AddDetail(status, retry);
  return status;
}

absl::Status InvalidArgument(const std::vector<FieldViolation>& violations) {
  std::string message;
  google::rpc::BadRequest bad_request;
  std::map<std::string, std::string> metadata;
  size_t bytes = 0, unsaid = 0, left_out = 0;
  for (const FieldViolation& violation : violations) {
    bytes += 2 * violation.field.size() + violation.description.size() + violation.reason.size() +
             kViolationOverhead;
    if (bytes > kMaxViolationBytes && bad_request.field_violations_size() > 0) {
      ++left_out;
      continue;
    }
    auto* entry = bad_request.add_field_violations();
    entry->set_field(violation.field);
    entry->set_description(violation.description);
    metadata.emplace("reason:" + violation.field, violation.reason);
    const std::string sentence = violation.field + ": " + violation.description;
    if (!message.empty() && message.size() + sentence.size() > kMaxViolationMessage) {
      ++unsaid;
    } else {
      message += (message.empty() ? "" : "; ") + sentence;
    }
  }
  if (unsaid + left_out > 0) message += "; and " + std::to_string(unsaid + left_out) + " more";
  absl::Status status =
      MakeError(absl::StatusCode::kInvalidArgument, violations.front().reason, message, metadata);
  AddDetail(status, bad_request);
  return status;
}

std::string ErrorReason(const absl::Status& status) {
  google::rpc::ErrorInfo info;
  return GetDetail(status, &info) ? info.reason() : "";
}

std::map<std::string, std::string> ErrorMetadata(const absl::Status& status) {
  google::rpc::ErrorInfo info;
  if (!GetDetail(status, &info)) return {};
  return {info.metadata().begin(), info.metadata().end()};
}

std::vector<FieldViolation> Violations(const absl::Status& status) {
  google::rpc::BadRequest bad_request;
  std::vector<FieldViolation> violations;
  if (!GetDetail(status, &bad_request)) return violations;
  std::map<std::string, std::string> metadata = ErrorMetadata(status);
  for (const auto& entry : bad_request.field_violations()) {
    auto reason = metadata.find("reason:" + entry.field());
    violations.push_back(
        {entry.field(), entry.description(), reason == metadata.end() ? "" : reason->second});
  }
  return violations;
}

absl::Duration RetryDelay(const absl::Status& status) {
  google::rpc::RetryInfo retry;
  return GetDetail(status, &retry) ? FromProtoDuration(retry.retry_delay()) : absl::ZeroDuration();
}

google::rpc::Status ToProto(const absl::Status& status) {
  google::rpc::Status result;
  result.set_code(static_cast<int>(status.code()));
  result.set_message(std::string(status.message()));
  status.ForEachPayload([&result](absl::string_view type_url, const absl::Cord& payload) {
    // Others are notes of rooms to each other and no messages.
    if (!absl::StartsWith(type_url, kTypePrefix)) return;
    auto* any = result.add_details();
    any->set_type_url(std::string(type_url));
    any->set_value(std::string(payload));
  });
  return result;
}

absl::Status FromProto(const google::rpc::Status& proto) {
  absl::Status status(static_cast<absl::StatusCode>(proto.code()), proto.message());
  if (status.ok()) return status;
  for (const auto& any : proto.details())
    status.SetPayload(any.type_url(), absl::Cord(any.value()));
  return status;
}

}  // namespace finetuned
