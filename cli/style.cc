#include "cli/style.h"

#include "absl/strings/str_cat.h"
#include "base/strings.h"
#include "cli/errors.h"

namespace finetuned::cli {

std::string Paint(Style style, std::string_view text, bool color) {
  if (!color || style == Style::kNone || text.empty()) return std::string(text);
  const char* code = "";
  switch (style) {
    case Style::kNone: break;
    case Style::kBold: code = "1"; break;
    case Style::kDim: code = "2"; break;
    case Style::kRed: code = "31"; break;
    case Style::kGreen: code = "32"; break;
    case Style::kYellow: code = "33"; break;
    case Style::kBlue: code = "34"; break;
  }
  return absl::StrCat("\x1b[", code, "m", A(text), "\x1b[0m");
}

absl::StatusOr<ColorMode> ParseColorMode(const std::string& text) {
  if (text.empty() || text == "auto") return ColorMode::kAuto;
  if (text == "always") return ColorMode::kAlways;
  if (text == "never") return ColorMode::kNever;
  return UsageError(absl::StrCat("--color is `", text, "`; give auto, always or never."));
}

bool UseColor(ColorMode mode, const Environment& env, bool is_terminal) {
  if (mode != ColorMode::kAuto) return mode == ColorMode::kAlways;
  if (!env("NO_COLOR").value_or("").empty()) return false;
  const std::string force = env("CLICOLOR_FORCE").value_or("");
  if (!force.empty() && force != "0") return true;
  if (env("CLICOLOR").value_or("") == "0" || env("TERM").value_or("") == "dumb") return false;
  return is_terminal;
}

}  // namespace finetuned::cli
