#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

// Colour. It only repeats what a word says already, so that nothing is lost without it. Pure.

namespace finetuned::cli {

enum class Style { kNone, kBold, kDim, kRed, kGreen, kYellow, kBlue };

// The text in its style; unchanged without colour, and when it is empty.
std::string Paint(Style style, std::string_view text, bool color);

// How --color was given.
enum class ColorMode { kAuto, kAlways, kNever };

// INVALID_ARGUMENT (a usage error) for another word than auto, always, never.
absl::StatusOr<ColorMode> ParseColorMode(const std::string& text);

// Looks up a variable of the environment.
using Environment = std::function<std::optional<std::string>(const std::string&)>;

// Whether to colour: a mode other than auto decides; then NO_COLOR (set and not empty),
// CLICOLOR_FORCE (set and not 0), CLICOLOR=0 and TERM=dumb in this order; then whether the output
// is a terminal.
bool UseColor(ColorMode mode, const Environment& env, bool is_terminal);

}  // namespace finetuned::cli
