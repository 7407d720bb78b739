#include "daemon/quota_error.h"

#include <google/rpc/error_details.pb.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status.h"

namespace finetuned {
absl::Status ActiveRunsQuotaError(const ServiceCore& core, const std::string& email,
                                  const std::vector<std::string>& names, int active, int limit) {
  core.metrics->QuotaRejected();
  const bool more = names.size() > kShownHolders;
  const std::string holders = absl::StrCat(
      absl::StrJoin(names.begin(), more ? names.begin() + kShownHolders : names.end(), ", "),
      more ? ", and more" : "");
  absl::Status status =
      MakeError(absl::StatusCode::kResourceExhausted, "ACTIVE_RUNS_QUOTA",
                absl::StrCat("you have ", active, " active runs and may have ", limit,
                             ": wait for one to end, pause one or cancel one. They are: ", holders),
                {{"quota", "active_runs"},
                 {"limit", absl::StrCat(limit)},
                 {"usage", absl::StrCat(active)},
                 {"runs", holders}});
  return WithQuotaFailure(std::move(status), email, "active_runs", active, limit);
}

absl::Status WithQuotaFailure(absl::Status status, const std::string& email,
                              const std::string& quota, int usage, int limit) {
  google::rpc::QuotaFailure failure;
  auto* violation = failure.add_violations();
  violation->set_subject("owner:" + email);
  violation->set_description(absl::StrCat(quota, ": ", usage, " of ", limit));
  AddDetail(status, failure);
  return status;
}

}  // namespace finetuned
