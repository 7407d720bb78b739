#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

// Canonical errors with machine-readable details, after AIP-193: every error that leaves the
// service has exactly one ErrorInfo {reason, domain, metadata}. Details travel as payloads of
// absl::Status, so any room can add one without knowing gRPC; they become google.rpc.Status at the
// border.

namespace finetuned {

// The domain of every ErrorInfo of this service.
inline constexpr char kErrorDomain[] = "finetuned";

// An error with a reason in UPPER_SNAKE_CASE, at most 63 characters, and the variables of its
// message.
absl::Status MakeError(absl::StatusCode code, const std::string& reason, const std::string& message,
                       const std::map<std::string, std::string>& metadata = {});

// UNAVAILABLE that tells the caller when to try again.
absl::Status UnavailableError(const std::string& reason, const std::string& message,
                              absl::Duration retry_delay);

// One thing wrong with a request.
struct FieldViolation {
  // Path of the field, e.g. `run.spec.training_duration`.
  std::string field;
  // What is wrong and what would be right, for a person.
  std::string description;
  // UPPER_SNAKE_CASE.
  std::string reason;
};

// INVALID_ARGUMENT with every violation. The ErrorInfo has the first one's reason. Requires at
// least one. Of very many only the first some thirty are in the details and the first few in the
// message, which then counts the others: more would not reach the client.
absl::Status InvalidArgument(const std::vector<FieldViolation>& violations);

// The reason of the status's ErrorInfo; empty without one.
std::string ErrorReason(const absl::Status& status);

// The metadata of the status's ErrorInfo; empty without one.
std::map<std::string, std::string> ErrorMetadata(const absl::Status& status);

// The violations of an INVALID_ARGUMENT; empty without.
std::vector<FieldViolation> Violations(const absl::Status& status);

// How long the caller is told to wait; zero without RetryInfo.
absl::Duration RetryDelay(const absl::Status& status);

// Adds a detail. A second one of the same type replaces the first.
void AddDetail(absl::Status& status, const google::protobuf::Message& detail);

// Both forms carry code, message and details.
google::rpc::Status ToProto(const absl::Status& status);
absl::Status FromProto(const google::rpc::Status& status);

}  // namespace finetuned

#define FT_CONCAT_INNER(a, b) a##b
#define FT_CONCAT(a, b) FT_CONCAT_INNER(a, b)

// Returns the status of an expression from the enclosing function when it is an error.
#define FT_RETURN_IF_ERROR(expr)                                                       \
  do {                                                                                 \
    ::absl::Status FT_CONCAT(ft_status_, __LINE__) = (expr);                           \
    if (!FT_CONCAT(ft_status_, __LINE__).ok()) return FT_CONCAT(ft_status_, __LINE__); \
  } while (false)

// Assigns the value of a StatusOr, or returns its error: FT_ASSIGN_OR_RETURN(auto x, Make());
#define FT_ASSIGN_OR_RETURN(lhs, expr)                          \
  auto FT_CONCAT(ft_result_, __LINE__) = (expr);                \
  if (!FT_CONCAT(ft_result_, __LINE__).ok())                    \
    return std::move(FT_CONCAT(ft_result_, __LINE__)).status(); \
  lhs = *std::move(FT_CONCAT(ft_result_, __LINE__))
