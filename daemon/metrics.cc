#include "daemon/metrics.h"

#include "absl/strings/str_cat.h"
#include "daemon/version.h"

namespace finetuned {
namespace {

using prometheus::BuildCounter;
using prometheus::BuildGauge;
using prometheus::BuildHistogram;
using Buckets = prometheus::Histogram::BucketBoundaries;

const Buckets kLatency = {0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
                          0.25,   0.5,   1,      2.5,   5,    10,    30};
const Buckets kWait = {0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 14400, 43200, 86400, 259200, 604800};
const Buckets kSizes = {1, 2, 4, 8, 16, 32, 64, 128, 256};

}  // namespace

Metrics::Metrics()
    : registry_(std::make_shared<prometheus::Registry>()),
      transitions_(BuildCounter()
                       .Name("finetuned_run_transitions_total")
                       .Help("Runs that went from one state to another; from NONE when admitted.")
                       .Register(*registry_),
                   "from", "to"),
      rpc_duration_(BuildHistogram()
                        .Name("finetuned_rpc_duration_seconds")
                        .Help("Time from a call's arrival to its answer, held calls included.")
                        .Register(*registry_),
                    "method", "code", kLatency),
      batch_size_(BuildHistogram()
                      .Name("finetuned_batch_items")
                      .Help("Calls that shared one transaction, by kind.")
                      .Register(*registry_),
                  "kind", "", kSizes),
      transaction_duration_(BuildHistogram()
                                .Name("finetuned_transaction_duration_seconds")
                                .Help("Time of a transaction or statement on Postgres, by name.")
                                .Register(*registry_),
                            "name", "outcome", kLatency),
      leases_lost_(BuildCounter()
                       .Name("finetuned_leases_lost_total")
                       .Help("Attempts taken as lost, by cause.")
                       .Register(*registry_)),
      runs_(BuildGauge()
                .Name("finetuned_runs")
                .Help("Active runs by state, over all daemons.")
                .Register(*registry_)),
      certificate_expire_time_(BuildGauge()
                                   .Name("finetuned_certificate_expire_time_seconds")
                                   .Help("When the certificate in use expires, in Unix time.")
                                   .Register(*registry_)),
      retention_overdue_(BuildGauge()
                             .Name("finetuned_retention_overdue_seconds")
                             .Help("How long files past their retention have not been deleted.")
                             .Register(*registry_)),
      quota_rejections_(
          BuildCounter()
              .Name("finetuned_quota_rejections_total")
              .Help("Runs refused because their owner had as many as the quota allows.")
              .Register(*registry_)
              .Add({})),
      events_stored_(BuildCounter()
                         .Name("finetuned_events_stored_total")
                         .Help("Events that workers reported and this daemon committed.")
                         .Register(*registry_)
                         .Add({})),
      queue_wait_(BuildHistogram()
                      .Name("finetuned_queue_wait_seconds")
                      .Help("Time from admission to the first lease.")
                      .Register(*registry_)
                      .Add({}, kWait)),
      watch_streams_(BuildGauge()
                         .Name("finetuned_watch_streams")
                         .Help("Open streams of WatchEvents and ReadMetrics.")
                         .Register(*registry_)
                         .Add({})),
      miscounted_owners_(
          BuildGauge()
              .Name("finetuned_quota_miscounted_owners")
              .Help("Owners whose counter of active runs differs from their runs. Always 0.")
              .Register(*registry_)
              .Add({})),
      quarantined_workers_(
          BuildGauge()
              .Name("finetuned_workers_in_quarantine")
              .Help("Workers that get no attempt, or one on trial, because they lost too many.")
              .Register(*registry_)
              .Add({})),
      database_writable_(BuildGauge()
                             .Name("finetuned_database_writable")
                             .Help("Whether the last write-capable check of Postgres passed.")
                             .Register(*registry_)
                             .Add({})),
      listening_(BuildGauge()
                     .Name("finetuned_listening")
                     .Help("Whether the notifications of other daemons are heard.")
                     .Register(*registry_)
                     .Add({})) {
  BuildGauge()
      .Name("finetuned_build_info")
      .Help("Version of this daemon; always 1.")
      .Register(*registry_)
      .Add({{"version", kVersion}})
      .Set(1);
}

void Metrics::RunMoved(const char* from, RunState to) {
  transitions_.Of(from, Name(to)).Increment();
}

void Metrics::QueueWaited(absl::Duration waited) {
  queue_wait_.Observe(absl::ToDoubleSeconds(waited));
}

void Metrics::RpcEnded(const std::string& method, absl::StatusCode code, absl::Duration duration) {
  rpc_duration_.Of(method, absl::StatusCodeToString(code)).Observe(absl::ToDoubleSeconds(duration));
}

void Metrics::BatchRan(const std::string& kind, size_t size) {
  batch_size_.Of(kind).Observe(static_cast<double>(size));
}

void Metrics::LeaseLost(const char* cause) { leases_lost_.Add({{"cause", cause}}).Increment(); }

void Metrics::SetCertificateExpireTime(absl::Time time) {
  certificate_expire_time_.Add({}).Set(static_cast<double>(absl::ToUnixSeconds(time)));
}

void Metrics::SetRetentionOverdue(const char* what, absl::Duration overdue) {
  retention_overdue_.Add({{"what", what}}).Set(absl::ToDoubleSeconds(overdue));
}

void Metrics::SetActiveRuns(const std::map<RunState, int64_t>& counts) {
  for (const RunState state : kAllRunStates) {
    if (!IsActive(state)) continue;
    const auto found = counts.find(state);
    runs_.Add({{"state", Name(state)}})
        .Set(found == counts.end() ? 0 : static_cast<double>(found->second));
  }
}

void Metrics::TransactionEnded(const char* name, absl::Duration duration, bool ok) {
  transaction_duration_.Of(name, ok ? "ok" : "error").Observe(absl::ToDoubleSeconds(duration));
}

}  // namespace finetuned
