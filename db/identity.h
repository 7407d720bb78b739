#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "db/pool.h"

// Who calls: tokens, the owners they stand for, and what the installation keeps to itself.

namespace finetuned {

// What a token says of its bearer.
struct Identity {
  int64_t workspace_id = 0;
  std::string workspace;
  bool share_runs = false;
  int64_t owner_id = 0;
  std::string email;
  std::string role;
  // The only worker that it may speak for; empty for any.
  std::string worker;
};

class IdentityStore {
 public:
  explicit IdentityStore(Pool* pool) : pool_(*pool) {}

  // Nothing for a token that is unknown, revoked or expired. Makes the owner's row when it is the
  // first time.
  absl::StatusOr<std::optional<Identity>> FindToken(const std::string& token);

  // Makes a token and returns it; only its hash is stored, so it cannot be shown again. A zero
  // lifetime is for ever. With `worker` only the worker of that name may use it.
  absl::StatusOr<std::string> CreateToken(const std::string& workspace, const std::string& email,
                                          const std::string& role, absl::Duration lifetime,
                                          const std::string& worker = "");

  // Whether there was such a token.
  absl::StatusOr<bool> RevokeToken(const std::string& token);

  absl::StatusOr<std::string> PageTokenKey();

  // Makes the partitions that the next runs will need.
  absl::Status EnsureEventPartitions();

 private:
  absl::StatusOr<int64_t> EnsureId(const char* query, const std::string& a,
                                   std::optional<int64_t> workspace_id);

  Pool& pool_;
};

}  // namespace finetuned
