#include "daemon/authenticator.h"

#include <iterator>

#include "absl/strings/ascii.h"
#include "base/hash.h"
#include "base/status.h"

namespace finetuned {
namespace {

absl::Status Unauthenticated(const std::string& reason, const std::string& message) {
  return MakeError(absl::StatusCode::kUnauthenticated, reason, message);
}

}  // namespace

absl::StatusOr<Identity> Authenticator::Authenticate(const std::string& authorization) {
  static const std::string kScheme = "bearer ";
  if (authorization.empty()) {
    return Unauthenticated("TOKEN_MISSING",
                           "the call has no token: send `authorization: Bearer <token>`");
  }
  if (authorization.size() > kMaxTokenBytes || authorization.size() <= kScheme.size() ||
      absl::AsciiStrToLower(authorization.substr(0, kScheme.size())) != kScheme) {
    return Unauthenticated("TOKEN_MALFORMED",
                           "the authorization header is not `Bearer <token>` of at most 8 KiB");
  }
  const std::string token = authorization.substr(kScheme.size());
  const std::string hash = Sha256(token);
  const absl::Duration now = clock_.SinceBoot();
  {
    MutexLock lock(mutex_);
    const auto found = cache_.find(hash);
    if (found != cache_.end() && now < found->second.until) return found->second.identity;
  }
  FT_ASSIGN_OR_RETURN(const std::optional<Identity> identity, store_.FindToken(token));
  if (!identity.has_value()) {
    return Unauthenticated("TOKEN_UNKNOWN",
                           "the token is not known here, was revoked or is over: ask for a new one "
                           "(`finetuned token create`)");
  }
  MutexLock lock(mutex_);
  if (cache_.count(hash) == 0) MakeRoom(now);
  cache_[hash] = {*identity, now + kCacheTime};
  return *identity;
}

void Authenticator::MakeRoom(absl::Duration now) {
  if (cache_.size() < max_cached_) return;
  for (auto entry = cache_.begin(); entry != cache_.end();) {
    entry = now < entry->second.until ? std::next(entry) : cache_.erase(entry);
  }
  // More are in use than there is room for. Without this, each of them would look through all
  // again.
  if (cache_.size() > max_cached_ / 2) cache_.clear();
}

}  // namespace finetuned
