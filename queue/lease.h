#pragma once

#include "absl/status/status.h"
#include "absl/time/time.h"

// Leases
// ======
//
// A lease is the right to run one attempt of one run. Its attempt's number, the epoch, is granted
// once and never again; every write of a worker names it and is compared with the run's row in the
// transaction that writes. So a stale worker cannot change anything, whatever clocks and networks
// do.
//
// What remains is that two trainers of one run should not compute at the same time. That is bounded
// by two times. The worker stops its trainer by itself when it has not had a renewal answered for
// `self_stop`, counted from when it sent the last one that was. The service gives the run away only
// `reassign` after the last renewal it committed. Since the renewal was sent before it was
// committed, and stopping takes at most `grace`, there is no overlap as long as reassign >=
// self_stop + grace + margin; the margin covers clocks that run at different rates.
//
// The database is the authority: expiry is written and judged by its clock. An outage in which
// nobody could renew ends no lease: after such a gap every lease gets its full time again.

namespace finetuned {

struct LeaseTimes {
  absl::Duration renew_interval = absl::Seconds(10);
  absl::Duration self_stop = absl::Minutes(10);
  absl::Duration grace = absl::Seconds(120);
  absl::Duration margin = absl::Minutes(3);
  absl::Duration reassign = absl::Minutes(15);
};

// INVALID_ARGUMENT, saying which is to be changed, when the times do not keep the order above or
// are not positive.
absl::Status CheckLeaseTimes(const LeaseTimes& times);

// Whether all leases are to get their full time again: nobody has looked for expired ones for so
// long that renewals must have been impossible. `looking_interval` is how often a healthy service
// looks.
bool DeservesAmnesty(absl::Duration since_last_look, absl::Duration looking_interval);

}  // namespace finetuned
