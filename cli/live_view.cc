#include "cli/live_view.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"

namespace finetuned::cli {
namespace {

// A line that wraps would be two, of which only one is drawn over.
constexpr char kWrapOff[] = "\x1b[?7l";
constexpr char kWrapOn[] = "\x1b[?7h";
constexpr char kClearBelow[] = "\x1b[J";

}  // namespace

std::string LiveView::Draw(const std::string& text) {
  std::vector<std::string> lines = absl::StrSplit(text, '\n');
  if (!lines.empty() && lines.back().empty()) lines.pop_back();
  // The cursor stands on a line of its own below them.
  const auto room = static_cast<size_t>(height_ > 2 ? height_ - 1 : 0);
  if (room > 0 && lines.size() > room) {
    const size_t more = lines.size() - (room - 1);
    lines.resize(room - 1);
    lines.push_back(absl::StrCat("and ", more, " more lines"));
  }
  std::string bytes = shown_ > 0 ? absl::StrCat("\x1b[", shown_, "A\r", kClearBelow) : "";
  shown_ = static_cast<int>(lines.size());
  if (lines.empty()) return bytes;
  return absl::StrCat(bytes, kWrapOff, absl::StrJoin(lines, "\n"), "\n", kWrapOn);
}

}  // namespace finetuned::cli
