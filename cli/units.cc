#include "cli/units.h"

#include <array>
#include <cmath>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/errors.h"

namespace finetuned::cli {
namespace {

constexpr int64_t kMaxBytes = int64_t{1} << 50;
constexpr char kPrefixes[] = "kmgtp";

}  // namespace

absl::StatusOr<int64_t> ParseBytes(const std::string& text) {
  const absl::Status bad = UsageError(absl::StrCat(
      "`", text, "` is not an amount of memory up to 1PiB; write it like 8GiB, 512MiB or 16GB."));
  const size_t unit_at = std::min(text.find_first_not_of("0123456789."), text.size());
  double number = 0;
  if (!absl::SimpleAtod(text.substr(0, unit_at), &number)) return bad;
  std::string unit = absl::AsciiStrToLower(text.substr(unit_at));
  if (!unit.empty() && unit.back() == 'b') unit.pop_back();
  double factor = 1;
  if (!unit.empty()) {
    const bool binary = unit.size() == 2 && unit[1] == 'i';
    const char* prefix = std::char_traits<char>::find(kPrefixes, sizeof(kPrefixes) - 1, unit[0]);
    if (prefix == nullptr || (unit.size() != 1 && !binary)) return bad;
    factor = std::pow(binary ? 1024.0 : 1000.0, prefix - kPrefixes + 1);
  }
  const double bytes = std::round(number * factor);
  if (!(bytes <= static_cast<double>(kMaxBytes))) return bad;
  return static_cast<int64_t>(bytes);
}

std::string FormatBytes(int64_t bytes) {
  if (bytes < 1024) return absl::StrCat(bytes, " B");
  static constexpr std::array<const char*, 6> kUnits = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  double amount = static_cast<double>(bytes);
  size_t unit = 0;
  for (amount /= 1024; amount >= 1024 && unit + 1 < kUnits.size(); ++unit) amount /= 1024;
  const bool whole = amount == std::floor(amount) || amount >= 100;
  return whole ? absl::StrFormat("%.0f %s", amount, kUnits[unit])
               : absl::StrFormat("%.1f %s", amount, kUnits[unit]);
}

}  // namespace finetuned::cli
