#pragma once

#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "db/identity.h"

namespace finetuned {

// Turns a bearer token into who calls. What was found is kept for kCacheTime, so a revoked token
// works that long at most and a call costs no round trip. Safe for concurrent use; Authenticate may
// block on Postgres.
class Authenticator {
 public:
  static constexpr absl::Duration kCacheTime = absl::Seconds(30);
  static constexpr size_t kMaxCached = 10000;
  static constexpr size_t kMaxTokenBytes = 8192;

  Authenticator(IdentityStore* store, const Clock* clock, size_t max_cached = kMaxCached)
      : store_(*store), clock_(*clock), max_cached_(max_cached) {}

  // `authorization` is the value of that header; empty when there is none. UNAUTHENTICATED with
  // reasons TOKEN_MISSING, TOKEN_MALFORMED or TOKEN_UNKNOWN (also when it was revoked or is over).
  absl::StatusOr<Identity> Authenticate(const std::string& authorization);

 private:
  struct Cached {
    Identity identity;
    absl::Duration until;
  };

  // For one more: what is over goes, and where that is less than half of them, all.
  void MakeRoom(absl::Duration now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  IdentityStore& store_;
  const Clock& clock_;
  const size_t max_cached_;

  Mutex mutex_;
  // By hash, so that no token lies in memory longer than its call.
  std::map<std::string, Cached> cache_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace finetuned
