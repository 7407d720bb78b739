#include "cli/listing.h"

#include <algorithm>
#include <numeric>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "cli/errors.h"
#include "cli/sanitize.h"

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
  if (options.csv) return RenderCsv(chosen, options.headers);
  if (rows_.empty() || chosen.empty()) return "";
  std::vector<std::string> header;
  for (const size_t column : chosen) header.push_back(columns_[column]);
  Table table(std::move(header));
  if (!options.headers) table.HideHeader();
  for (const auto& row : rows_) {
    std::vector<Cell> cells;
    for (const size_t column : chosen) cells.push_back(row[column]);
    table.AddRow(std::move(cells));
  }
  return table.Render(options.color, options.width);
}

std::string Listing::RenderCsv(const std::vector<size_t>& chosen, bool headers) const {
  std::string text;
  const auto add_line = [&text](const std::vector<std::string>& fields) {
    absl::StrAppend(&text, absl::StrJoin(fields, ","), "\r\n");
  };
  if (headers) {
    std::vector<std::string> names;
    for (const size_t column : chosen) names.push_back(Key(columns_[column]));
    add_line(names);
  }
  for (const auto& row : rows_) {
    std::vector<std::string> fields;
    for (const size_t column : chosen) {
      const std::string value = Sanitize(row[column].text);
      fields.push_back(value == "-" ? "" : CsvField(value));
    }
    add_line(fields);
  }
  return text;
}

}  // namespace finetuned::cli
