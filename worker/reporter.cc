#include "worker/reporter.h"

#include "base/logging.h"
#include "base/status.h"
#include "base/time.h"

namespace finetuned {

absl::StatusOr<bool> Reporter::Send(int64_t session,
                                    const std::vector<std::shared_ptr<Attempt>>& attempts,
                                    absl::Duration timeout) {
  Attempts by_key;
  for (const auto& attempt : attempts) {
    if (!attempt->abandoned() && !attempt->forgotten()) by_key[attempt->key()] = attempt;
  }
  FT_ASSIGN_OR_RETURN(const bool reported, SendReports(session, by_key, timeout));
  FT_ASSIGN_OR_RETURN(const bool ended, SendEnds(session, by_key, timeout));
  return reported || ended;
}

absl::StatusOr<bool> Reporter::SendReports(int64_t session, const Attempts& attempts,
                                           absl::Duration timeout) {
  v1::ReportEventsRequest request;
  request.set_session(session);
  size_t bytes = 0;
  // Once around, from where the last round stopped.
  auto at = attempts.lower_bound(next_);
  for (size_t i = 0; i < attempts.size(); ++i, ++at) {
    if (at == attempts.end()) at = attempts.begin();
    if (static_cast<size_t>(request.items_size()) >= kMaxItems || bytes >= kMaxCallBytes) break;
    const auto single = single_.find(at->first);
    const size_t count = single == single_.end() ? kMaxReportsPerItem : 1;
    std::vector<v1::Report> reports = at->second->journal().Pending(count, kMaxCallBytes - bytes);
    if (reports.empty()) continue;
    v1::ReportEventsRequest::Item item;
    *item.mutable_attempt() = RefOf(at->first);
    for (v1::Report& report : reports) *item.add_reports() = std::move(report);
    bytes += item.ByteSizeLong();
    // One report is always small enough for a call of its own.
    if (bytes > kMaxCallBytes + 64 * 1024 && request.items_size() > 0) break;
    *request.add_items() = std::move(item);
  }
  if (at != attempts.end()) next_ = at->first;
  if (request.items_size() == 0) return false;
  FT_ASSIGN_OR_RETURN(const v1::ReportEventsResponse response,
                      client_.ReportEvents(request, timeout));
  bool forward = false;
  for (int i = 0; i < response.results_size() && i < request.items_size(); ++i) {
    const auto found = attempts.find(KeyOf(response.results(i).attempt()));
    if (found == attempts.end()) continue;
    Attempt& attempt = *found->second;
    const absl::Status status = FromProto(response.results(i).status());
    if (ErrorReason(status) == "LEASE_LOST") {
      attempt.Abandon();
      forward = true;
      continue;
    }
    const int64_t before = attempt.journal().acked();
    const absl::Status acked = attempt.journal().Ack(response.results(i).acked_report());
    if (!acked.ok()) Log(LogLevel::kWarning, "cannot rewrite a journal", {{"error", acked}});
    forward = forward || attempt.journal().acked() > before;
    if (status.ok()) {
      single_.erase(found->first);
    } else if (absl::IsInvalidArgument(status)) {
      const auto count = static_cast<size_t>(request.items(i).reports_size());
      forward = Refused(attempt, count, status) || forward;
    }
  }
  return forward;
}

bool Reporter::Refused(Attempt& attempt, size_t count, const absl::Status& status) {
  if (count > 1) {
    single_[attempt.key()] = 1;
    return true;
  }
  const std::vector<v1::Report> first = attempt.journal().Pending(1, kMaxCallBytes);
  if (first.empty()) return true;
  Log(LogLevel::kError, "the daemon refuses a report; it is replaced by a note",
      {{"run", attempt.lease().run()}, {"number", first[0].number()}, {"error", status}});
  attempt.journal().Replace(
      first[0].number(),
      OtherEvent("a report of type " + v1::RunEvent::Type_Name(first[0].event().type()) +
                     " was refused: " + std::string(status.message()).substr(0, 500),
                 FromProtoTime(first[0].event().worker_time())));
  // Once only: a note that is refused too must not make a busy loop.
  return first[0].event().type() != v1::RunEvent::OTHER;
}

absl::StatusOr<bool> Reporter::SendEnds(int64_t session, const Attempts& attempts,
                                        absl::Duration timeout) {
  v1::CompleteAttemptsRequest request;
  request.set_session(session);
  for (const auto& [key, attempt] : attempts) {
    if (static_cast<size_t>(request.items_size()) >= kMaxItems) break;
    if (attempt->abandoned()) continue;
    std::optional<v1::AttemptEnd> end = attempt->end();
    const int64_t last = attempt->journal().last_number();
    if (!end.has_value() || attempt->journal().acked() < last) continue;
    v1::CompleteAttemptsRequest::Item& item = *request.add_items();
    *item.mutable_attempt() = RefOf(key);
    *item.mutable_end() = *std::move(end);
    item.set_last_report(last);
    if (request.ByteSizeLong() > kMaxCallBytes) break;
  }
  if (request.items_size() == 0) return false;
  FT_ASSIGN_OR_RETURN(const v1::CompleteAttemptsResponse response,
                      client_.CompleteAttempts(request, timeout));
  bool forward = false;
  for (const auto& result : response.results()) {
    const auto found = attempts.find(KeyOf(result.attempt()));
    if (found == attempts.end()) continue;
    const absl::Status status = FromProto(result.status());
    if (status.ok()) {
      found->second->Completed();
      forward = true;
    } else if (ErrorReason(status) == "LEASE_LOST") {
      found->second->Abandon();
      forward = true;
    } else {
      Log(LogLevel::kError, "the end of an attempt is refused",
          {{"run", found->second->lease().run()}, {"error", status}});
    }
  }
  return forward;
}

}  // namespace finetuned
