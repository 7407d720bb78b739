#include "tests/bench/slots.h"

#include "base/grpc_status.h"
#include "tests/bench/require.h"

namespace finetuned::bench {

SlotWorker::SlotWorker(const TestInstallation& installation, const DaemonProcess& daemon,
                       const std::string& name, int slots)
    : worker_(installation, daemon.worker_listen(), name, slots), slots_(slots) {
  Require(worker_.Open().ok(), "no session");
}

std::vector<v1::Lease> SlotWorker::Take(int hold_seconds) {
  v1::AcquireLeasesRequest request;
  request.set_session(worker_.session());
  request.mutable_hold_duration()->set_seconds(hold_seconds);
  {
    MutexLock lock(mutex_);
    const int free = slots_ - static_cast<int>(held_.size());
    if (free <= 0) return {};
    request.mutable_free()->set_cpus(free);
    request.set_max_count(free);
    for (const auto& [key, attempt] : held_) *request.add_held() = attempt;
  }
  v1::AcquireLeasesResponse response;
  const grpc::Status status = worker_.client().workers().AcquireLeases(
      worker_.client().Context().get(), request, &response);
  Require(status.ok(), "no leases");
  MutexLock lock(mutex_);
  for (const v1::Lease& lease : response.leases()) {
    const v1::AttemptRef& attempt = lease.attempt();
    Require(held_.emplace(std::pair(attempt.run_id(), attempt.epoch()), attempt).second,
            "a lease came twice");
  }
  return {response.leases().begin(), response.leases().end()};
}

void SlotWorker::Finish(const std::vector<v1::Lease>& leases) {
  static const std::vector<v1::RunEvent::Type> kTypes = {v1::RunEvent::STARTED,
                                                         v1::RunEvent::TRAIN_FINISHED};
  v1::ReportEventsRequest reports;
  v1::CompleteAttemptsRequest ends;
  reports.set_session(worker_.session());
  ends.set_session(worker_.session());
  for (const v1::Lease& lease : leases) {
    auto* item = reports.add_items();
    *item->mutable_attempt() = lease.attempt();
    int64_t number = 0;
    for (const v1::RunEvent::Type type : kTypes) {
      auto* report = item->add_reports();
      report->set_number(++number);
      report->mutable_event()->set_type(type);
    }
    auto* end = ends.add_items();
    *end->mutable_attempt() = lease.attempt();
    end->mutable_end()->set_exit_code(0);
    end->mutable_end()->set_finished(true);
    end->set_last_report(number);
  }
  v1::ReportEventsResponse reported;
  grpc::Status status =
      worker_.client().workers().ReportEvents(worker_.client().Context().get(), reports, &reported);
  Require(status.ok(), "reports were refused");
  for (const auto& result : reported.results()) {
    Require(result.status().code() == 0, "a report was refused");
  }
  v1::CompleteAttemptsResponse completed;
  status = worker_.client().workers().CompleteAttempts(worker_.client().Context().get(), ends,
                                                       &completed);
  Require(status.ok(), "ends were refused");
  for (const auto& result : completed.results()) {
    Require(result.status().code() == 0, "an end was refused");
  }
  MutexLock lock(mutex_);
  for (const v1::Lease& lease : leases) {
    held_.erase(std::pair(lease.attempt().run_id(), lease.attempt().epoch()));
  }
}

}  // namespace finetuned::bench
