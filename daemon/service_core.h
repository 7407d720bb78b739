#pragma once

#include <string>

#include "daemon/admitter.h"
#include "daemon/call.h"
#include "daemon/dispatcher.h"
#include "daemon/event_pages.h"
#include "daemon/feed_tail.h"
#include "daemon/metric_lengths.h"
#include "daemon/run_hub.h"
#include "daemon/run_tails.h"
#include "daemon/validate_run.h"
#include "db/admission.h"
#include "db/batcher.h"
#include "db/edits.h"
#include "db/identity.h"
#include "db/leases.h"
#include "db/listing.h"
#include "db/notifier.h"
#include "db/reads.h"
#include "db/registry.h"
#include "db/retention.h"
#include "db/transitions.h"
#include "queue/lease.h"

namespace finetuned {

// What the services work with, built once by the composition root (daemon/server.h), which owns it
// all.
struct ServiceCore {
  CallContext call;
  // Of calls that wait for rows that others have locked: one owner's slow transaction holds up the
  // changes of others at most, and never a read or a worker.
  CallContext changes;
  // Where a filesystem is waited for: one that is slow or gone holds up only those who asked for
  // it.
  Executor* files = nullptr;
  const Clock* clock = nullptr;
  Metrics* metrics = nullptr;
  RunHub* hub = nullptr;
  RunTails* run_tails = nullptr;
  EventPages* event_pages = nullptr;
  FeedTail* feed_tail = nullptr;
  MetricLengths* metric_lengths = nullptr;
  Dispatcher* dispatcher = nullptr;
  // To the other daemons.
  Notifier* notifier = nullptr;

  LeaseStore* leases = nullptr;
  TransitionStore* transitions = nullptr;
  Reader* reader = nullptr;
  Feed* feed = nullptr;
  Listing* listing = nullptr;
  Registry* registry = nullptr;
  RetentionStore* retention = nullptr;
  EditStore* edits = nullptr;
  // For runs that are admitted again.
  AdmissionStore* admission = nullptr;

  Admitter* admitter = nullptr;
  Batcher<ReportItem, ReportResult>* report_batcher = nullptr;
  Batcher<RenewalItem, RenewalResult>* renew_batcher = nullptr;
  Batcher<CompletionItem, CompletionResult>* complete_batcher = nullptr;

  RunPolicy run_policy;
  LeaseTimes lease_times;
  std::string artifact_root;
  std::string page_token_key;
  int active_runs_limit = 10;
  // Whether a worker's name must be among those of the certificate it shows.
  bool check_worker_names = false;

  // What follows when runs have moved: counted, and those who follow are woken.
  void RunMoved(int64_t run_id, RunState from, RunState to, bool desired_changed) const {
    if (from != to) metrics->RunMoved(Name(from), to);
    RunChanged(run_id, desired_changed);
    // It is queued again, or has let another run of its owner into the queue.
    if (to == RunState::kPending || !IsActive(to)) QueueChanged();
  }

  // A run has new events; and something else is wanted of its attempt, where that has changed. Who
  // follows it is woken, here and at the other daemons.
  void RunChanged(int64_t run_id, bool desired_changed) const {
    hub->Wake(run_id, RunHub::Change::kEvents);
    if (desired_changed) hub->Wake(run_id, RunHub::Change::kDesired);
    notifier->Notify(Notifier::kRuns);
  }

  // Something was queued. Workers that wait are woken, here and at the other daemons.
  void QueueChanged() const {
    dispatcher->Wake();
    notifier->Notify(Notifier::kQueue);
  }
};

// Whose eyes an identity looks with.
inline Viewer ViewerOf(const Identity& identity) {
  return Viewer{identity.workspace_id, identity.owner_id,
                identity.share_runs || identity.role == "admin"};
}

// Whose runs an identity may change: its own, or the workspace's for an admin. Sharing shows runs
// and gives no right over them.
inline Viewer OwnerOf(const Identity& identity) {
  return Viewer{identity.workspace_id, identity.owner_id, identity.role == "admin"};
}

}  // namespace finetuned
