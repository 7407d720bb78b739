#include "cli/log_tail.h"

#include <algorithm>

namespace finetuned::cli {

int64_t CountLines(std::string_view text) {
  const int64_t ends = std::count(text.begin(), text.end(), '\n');
  return ends + (!text.empty() && text.back() != '\n' ? 1 : 0);
}

std::string_view LastLines(std::string_view text, int64_t count) {
  if (count <= 0) return text.substr(text.size());
  // The end of the last line begins no line after it.
  size_t at = text.size();
  if (at > 0 && text[at - 1] == '\n') --at;
  while (at > 0) {
    const size_t end_before = text.rfind('\n', at - 1);
    if (end_before == std::string_view::npos) return text;
    if (--count == 0) return text.substr(end_before + 1);
    at = end_before;
  }
  return text;
}

}  // namespace finetuned::cli
