#include "cli/listing.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <optional>
#include <string_view>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "base/strings.h"
#include "cli/errors.h"
#include "cli/sanitize.h"
#include "cli/times.h"
#include "cli/units.h"

namespace finetuned::cli {
namespace {

// `LAST SEEN`, `last-seen` and `last_seen` are one name.
std::string Key(const std::string& name) {
  return absl::StrReplaceAll(absl::AsciiStrToLower(name), {{" ", "_"}, {"-", "_"}});
}

std::string CsvField(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  return absl::StrCat("\"", absl::StrReplaceAll(text, {{"\"", "\"\""}}), "\"");
}

// A column to sort by, and whether the greatest comes first.
std::pair<std::string, bool> SortOf(const std::string& sort) {
  for (const auto& [suffix, descending] : {std::pair(":desc", true), std::pair(":asc", false)}) {
    if (absl::EndsWith(sort, suffix)) {
      return {sort.substr(0, sort.rfind(':')), descending};
    }
  }
  return {sort, false};
}

// A number as it is written in a table; not `nan` or `inf`, which are names there.
std::optional<double> PlainNumber(std::string_view text) {
  double number = 0;
  if (!absl::SimpleAtod(A(text), &number) || !std::isfinite(number)) return std::nullopt;
  return number;
}

// What a cell says as a number: `12`, `40%`, `5m`, `1.24B`, `1.5 GiB`, `6 GPU h`. Nothing for other
// text.
std::optional<double> NumberOf(std::string_view text) {
  const size_t thousands = std::string_view("KMBT").find(text.back());
  if (thousands != std::string_view::npos && text.find(' ') == std::string_view::npos) {
    if (const auto number = PlainNumber(text.substr(0, text.size() - 1))) {
      return *number * std::pow(1000, thousands + 1);
    }
  }
  if (const auto duration = ParseDuration(std::string(text)); duration.ok()) {
    return absl::ToDoubleSeconds(*duration);
  }
  const auto bytes = ParseBytes(absl::StrReplaceAll(A(text), {{" ", ""}}));
  if (bytes.ok()) return static_cast<double>(*bytes);
  return PlainNumber(text.substr(0, text.find_first_of("% ")));
}

// What cells are ordered by: absent values last, numbers before text.
struct SortKey {
  explicit SortKey(const std::string& cell)
      : absent(cell.empty() || cell == "-"),
        number(absent ? std::nullopt : NumberOf(cell)),
        text(cell) {}

  bool absent;
  std::optional<double> number;
  std::string text;

  bool Before(const SortKey& other) const {
    if (number.has_value() != other.number.has_value()) return number.has_value();
    return number.has_value() ? *number < *other.number : text < other.text;
  }
};

}  // namespace

Listing::Listing(std::vector<std::string> columns, const std::vector<std::string>& wide)
    : columns_(std::move(columns)), usual_(columns_.size()) {
  columns_.insert(columns_.end(), wide.begin(), wide.end());
}

absl::Status Listing::CheckColumns(const std::vector<std::string>& columns) const {
  std::vector<std::string> known;
  for (const std::string& column : columns_) known.push_back(Key(column));
  for (const std::string& column : columns) {
    if (std::find(known.begin(), known.end(), Key(column)) == known.end()) {
      return UsageError(absl::StrCat("There is no column `", column, "`; there are ",
                                     absl::StrJoin(known, ", "), "."));
    }
  }
  return absl::OkStatus();
}

absl::Status Listing::CheckSort(const std::string& sort) const {
  return sort.empty() ? absl::OkStatus() : CheckColumns({SortOf(sort).first});
}

std::vector<const std::vector<Cell>*> Listing::Sorted(const std::string& sort) const {
  std::vector<const std::vector<Cell>*> sorted;
  for (const auto& row : rows_) sorted.push_back(&row);
  const auto [name, descending] = SortOf(sort);
  for (size_t column = 0; column < columns_.size(); ++column) {
    if (sort.empty() || Key(columns_[column]) != Key(name)) continue;
    std::map<const std::vector<Cell>*, SortKey> keys;
    for (const auto& row : rows_) keys.emplace(&row, SortKey(row[column].text));
    std::stable_sort(sorted.begin(), sorted.end(), [&, last = descending](auto* a, auto* b) {
      const SortKey& left = keys.at(a);
      const SortKey& right = keys.at(b);
      if (left.absent || right.absent) return !left.absent && right.absent;
      return last ? right.Before(left) : left.Before(right);
    });
  }
  return sorted;
}

std::vector<size_t> Listing::Chosen(const Options& options) const {
  if (options.columns.empty()) {
    std::vector<size_t> chosen(options.wide || options.csv ? columns_.size() : usual_);
    std::iota(chosen.begin(), chosen.end(), size_t{0});
    return chosen;
  }
  std::vector<size_t> chosen;
  for (const std::string& name : options.columns) {
    for (size_t i = 0; i < columns_.size(); ++i) {
      if (Key(columns_[i]) == Key(name)) chosen.push_back(i);
    }
  }
  return chosen;
}

std::string Listing::Render(const Options& options) const {
  const std::vector<size_t> chosen = Chosen(options);
  if (options.csv) return RenderCsv(chosen, options);
  if (rows_.empty() || chosen.empty()) return "";
  std::vector<std::string> header;
  for (const size_t column : chosen) header.push_back(columns_[column]);
  Table table(std::move(header));
  if (!options.headers) table.HideHeader();
  for (const std::vector<Cell>* row : Sorted(options.sort)) {
    std::vector<Cell> cells;
    for (const size_t column : chosen) cells.push_back((*row)[column]);
    table.AddRow(std::move(cells));
  }
  return table.Render(options.color, options.width);
}

std::string Listing::RenderCsv(const std::vector<size_t>& chosen, const Options& options) const {
  std::string text;
  const auto add_line = [&text](const std::vector<std::string>& fields) {
    absl::StrAppend(&text, absl::StrJoin(fields, ","), "\r\n");
  };
  if (options.headers) {
    std::vector<std::string> names;
    for (const size_t column : chosen) names.push_back(Key(columns_[column]));
    add_line(names);
  }
  for (const std::vector<Cell>* row : Sorted(options.sort)) {
    std::vector<std::string> fields;
    for (const size_t column : chosen) {
      const std::string value = Sanitize((*row)[column].text);
      fields.push_back(value == "-" ? "" : CsvField(value));
    }
    add_line(fields);
  }
  return text;
}

}  // namespace finetuned::cli
