#pragma once

#include <map>
#include <memory>
#include <string>

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "daemon/metric_members.h"
#include "db/pool.h"
#include "queue/run_state.h"

namespace finetuned {

// Every metric of the daemon. Transitions are counted rather than states; labels are few and
// bounded, never a run or a user. Safe for concurrent use.
class Metrics final : public DatabaseObserver {
 public:
  Metrics();

  std::shared_ptr<prometheus::Registry> registry() const { return registry_; }

  void RunMoved(const char* from, RunState to);
  void RunAdmitted() { RunMoved("NONE", RunState::kPending); }
  void QuotaRejected() { quota_rejections_.Increment(); }
  void QueueWaited(absl::Duration waited);
  void RpcEnded(const std::string& method, absl::StatusCode code, absl::Duration duration);
  void BatchRan(const std::string& kind, size_t size);
  void LeaseLost(const char* cause);
  void StreamOpened() { watch_streams_.Increment(); }
  void StreamClosed() { watch_streams_.Decrement(); }
  void EventsStored(size_t count) { events_stored_.Increment(static_cast<double>(count)); }
  void SetActiveRuns(const std::map<RunState, int64_t>& counts);
  void SetQuarantinedWorkers(int64_t count) {
    quarantined_workers_.Set(static_cast<double>(count));
  }
  void SetMiscountedOwners(int count) { miscounted_owners_.Set(count); }
  void SetCertificateExpireTime(absl::Time time);
  // `what`: logs or metrics.
  void SetRetentionOverdue(const char* what, absl::Duration overdue);
  void SetListening(bool listening) { listening_.Set(listening ? 1 : 0); }
  void SetDatabaseWritable(bool writable) { database_writable_.Set(writable ? 1 : 0); }

  void TransactionEnded(const char* name, absl::Duration duration, bool ok) override;

 private:
  std::shared_ptr<prometheus::Registry> registry_;
  MetricMembers<prometheus::Counter> transitions_;
  MetricMembers<prometheus::Histogram> rpc_duration_;
  MetricMembers<prometheus::Histogram> batch_size_;
  MetricMembers<prometheus::Histogram> transaction_duration_;
  prometheus::Family<prometheus::Counter>& leases_lost_;
  prometheus::Family<prometheus::Gauge>& runs_;
  prometheus::Family<prometheus::Gauge>& certificate_expire_time_;
  prometheus::Family<prometheus::Gauge>& retention_overdue_;
  prometheus::Counter& quota_rejections_;
  prometheus::Counter& events_stored_;
  prometheus::Histogram& queue_wait_;
  prometheus::Gauge& watch_streams_;
  prometheus::Gauge& miscounted_owners_;
  prometheus::Gauge& quarantined_workers_;
  prometheus::Gauge& database_writable_;
  prometheus::Gauge& listening_;
};

}  // namespace finetuned
