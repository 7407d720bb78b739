#include "base/link.h"

namespace finetuned {
namespace {

constexpr size_t kMaxNameBytes = 63;

bool IsName(std::string_view name) {
  if (name.empty() || name.size() > kMaxNameBytes || name[0] < 'a' || name[0] > 'z') return false;
  for (const char c : name) {
    const bool good = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
    if (!good) return false;
  }
  return true;
}

}  // namespace

bool IsLink(std::string_view name, std::string_view page) {
  if (!IsName(name) || page.size() > kMaxLinkBytes) return false;
  for (const char c : page) {
    if (c <= ' ' || c > '~' || c == '"' || c == '<' || c == '>' || c == '\\') return false;
  }
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (page.substr(0, scheme.size()) != scheme) continue;
    const std::string_view rest = page.substr(scheme.size());
    const std::string_view authority = rest.substr(0, rest.find_first_of("/?#"));
    // A user and a password are nobody else's to see.
    return !authority.empty() && authority.find('@') == std::string_view::npos;
  }
  return false;
}

}  // namespace finetuned
