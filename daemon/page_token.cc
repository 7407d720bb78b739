#include "daemon/page_token.h"

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/hash.h"
#include "base/status.h"

namespace finetuned {
namespace {

constexpr size_t kMaxTokenBytes = 512;
constexpr size_t kMacBytes = 16;

std::string Mac(const std::string& key, const std::string& scope, const std::string& payload) {
  return HmacSha256(key, absl::StrCat("page-token-v1|", Sha256(scope), payload))
      .substr(0, kMacBytes);
}

}  // namespace

std::string MakePageToken(const std::string& key, const std::string& scope, const RunPageKey& at) {
  const std::string payload = absl::StrCat(absl::ToUnixMicros(at.create_time), ".", at.run_id);
  return absl::WebSafeBase64Escape(absl::StrCat(Mac(key, scope, payload), payload));
}

absl::StatusOr<RunPageKey> ReadPageToken(const std::string& key, const std::string& scope,
                                         const std::string& token) {
  const absl::Status bad = InvalidArgument(
      {{"page_token",
        "is not a token of this listing: use next_page_token of the page before, with the same "
        "filters",
        "BAD_PAGE_TOKEN"}});
  std::string bytes;
  if (token.size() > kMaxTokenBytes || !absl::WebSafeBase64Unescape(token, &bytes) ||
      bytes.size() <= kMacBytes) {
    return bad;
  }
  const std::string payload = bytes.substr(kMacBytes);
  if (!ConstantTimeEqual(bytes.substr(0, kMacBytes), Mac(key, scope, payload))) return bad;
  const std::vector<std::string> parts = absl::StrSplit(payload, '.');
  int64_t micros;
  RunPageKey at;
  if (parts.size() != 2 || !absl::SimpleAtoi(parts[0], &micros) ||
      !absl::SimpleAtoi(parts[1], &at.run_id)) {
    return bad;
  }
  at.create_time = absl::FromUnixMicros(micros);
  return at;
}

}  // namespace finetuned
