#include "daemon/page_token.h"

#include <algorithm>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/hash.h"
#include "base/status.h"

namespace finetuned {
namespace {

// Of the longest path, and what encoding adds.
constexpr size_t kMaxTokenBytes = 2048;
constexpr size_t kMacBytes = 16;
constexpr int kDefaultPageSize = 100;
constexpr int kMaxPageSize = 1000;

std::string Mac(const std::string& key, const std::string& scope, const std::string& payload) {
  return HmacSha256(key, absl::StrCat("page-token-v1|", Sha256(scope), payload))
      .substr(0, kMacBytes);
}

absl::Status BadToken() {
  return InvalidArgument(
      {{"page_token",
        "is not a token of this listing: use next_page_token of the page before, with the same "
        "filters",
        "BAD_PAGE_TOKEN"}});
}

}  // namespace

absl::StatusOr<int> PageSize(int32_t asked) {
  if (asked < 0) return InvalidArgument({{"page_size", "is negative", "BAD_PAGE_SIZE"}});
  return asked == 0 ? kDefaultPageSize : std::min(asked, kMaxPageSize);
}

std::string MakePageToken(const std::string& key, const std::string& scope,
                          const std::vector<int64_t>& at) {
  return MakeTextPageToken(key, scope, absl::StrJoin(at, "."));
}

std::string MakeTextPageToken(const std::string& key, const std::string& scope,
                              const std::string& at) {
  return absl::WebSafeBase64Escape(absl::StrCat(Mac(key, scope, at), at));
}

absl::StatusOr<std::vector<int64_t>> ReadPageToken(const std::string& key, const std::string& scope,
                                                   const std::string& token, size_t length) {
  FT_ASSIGN_OR_RETURN(const std::string payload, ReadTextPageToken(key, scope, token));
  std::vector<int64_t> at;
  for (const absl::string_view part : absl::StrSplit(payload, '.')) {
    if (!absl::SimpleAtoi(part, &at.emplace_back())) return BadToken();
  }
  if (at.size() != length) return BadToken();
  return at;
}

absl::StatusOr<std::string> ReadTextPageToken(const std::string& key, const std::string& scope,
                                              const std::string& token) {
  std::string bytes;
  if (token.size() > kMaxTokenBytes || !absl::WebSafeBase64Unescape(token, &bytes) ||
      bytes.size() <= kMacBytes) {
    return BadToken();
  }
  std::string at = bytes.substr(kMacBytes);
  if (!ConstantTimeEqual(bytes.substr(0, kMacBytes), Mac(key, scope, at))) return BadToken();
  return at;
}

}  // namespace finetuned
