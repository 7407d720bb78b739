#include "cli/confirm.h"

#include <unistd.h>

#include <algorithm>
#include <istream>
#include <ostream>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "cli/errors.h"
#include "cli/sanitize.h"

namespace finetuned::cli {
namespace {

// The question must stay in sight.
constexpr size_t kMaxLines = 50;

}  // namespace

absl::Status Confirm(Session& session, const std::vector<std::string>& lines,
                     const Question& question) {
  Io& io = session.io();
  if (!io.in_is_terminal) return absl::OkStatus();
  const size_t shown = std::min(lines.size(), kMaxLines);
  for (size_t i = 0; i < shown; ++i) io.err << "  " << Sanitize(lines[i]) << "\n";
  if (shown < lines.size()) io.err << "  and " << lines.size() - shown << " more\n";
  io.err << question.text << " [y/N] " << std::flush;
  std::string answer;
  // A read of the terminal cannot be ended from another thread; nothing has been begun that would
  // need tidying.
  const Interrupt::Scope scope(io.interrupt, [] { _exit(kExitInterrupted); });
  std::getline(io.in, answer);
  answer = absl::AsciiStrToLower(answer);
  if (answer == "y" || answer == "yes") return absl::OkStatus();
  return LocalError(absl::StatusCode::kCancelled, question.after_no, "",
                    "the same command with --yes");
}

}  // namespace finetuned::cli
