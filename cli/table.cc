#include "cli/table.h"

#include <locale.h>
#include <wchar.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "cli/sanitize.h"
#include "cli/utf8.h"

namespace finetuned::cli {
namespace {

constexpr int kGap = 2;
constexpr char kEllipsis[] = "…";

// wcwidth answers by the thread's locale, which is a person's setting and may know nothing of
// Unicode.
int CellsOf(char32_t code) {
  static const locale_t utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr);
  if (utf8 == nullptr) return 1;
  const locale_t before = uselocale(utf8);
  const int cells = wcwidth(static_cast<wchar_t>(code));
  uselocale(before);
  return cells < 0 ? 1 : cells;
}

std::string Spaces(int count) { return std::string(static_cast<size_t>(std::max(count, 0)), ' '); }

}  // namespace

int DisplayWidth(std::string_view text) {
  int width = 0;
  while (!text.empty()) {
    const Utf8Char first = FirstUtf8(text);
    width += first.kind == Utf8Char::Kind::kValid ? CellsOf(first.code) : 1;
    text.remove_prefix(first.size);
  }
  return width;
}

std::string FitToWidth(std::string_view text, int width) {
  if (DisplayWidth(text) <= width) return std::string(text);
  if (width < 1) return "";
  std::string result;
  int used = 0;
  while (!text.empty()) {
    const Utf8Char first = FirstUtf8(text);
    const int cells = first.kind == Utf8Char::Kind::kValid ? CellsOf(first.code) : 1;
    if (used + cells > width - 1) break;
    result.append(text.data(), first.size);
    used += cells;
    text.remove_prefix(first.size);
  }
  return result + kEllipsis;
}

void Table::AddRow(std::vector<Cell> cells) {
  for (Cell& cell : cells) cell.text = Sanitize(cell.text);
  cells.resize(header_.size(), Cell(""));
  rows_.push_back(std::move(cells));
}

std::string Table::Render(bool color, int width) const {
  std::vector<int> widths;
  for (size_t column = 0; column < header_.size(); ++column) {
    int widest = header_hidden_ ? 0 : DisplayWidth(header_[column]);
    for (const auto& row : rows_) widest = std::max(widest, DisplayWidth(row[column].text));
    widths.push_back(widest);
  }
  int before_last = 0;
  for (size_t column = 0; column + 1 < widths.size(); ++column) {
    before_last += widths[column] + kGap;
  }
  // Not below the header's own width: a column of dots says nothing.
  const int last_width =
      width == 0 ? 0 : std::max(width - before_last, DisplayWidth(header_.back()));

  std::string result;
  const auto add_line = [&](const std::vector<Cell>& cells) {
    std::string line;
    int pending = 0;
    for (size_t column = 0; column < cells.size(); ++column) {
      const bool last = column + 1 == cells.size();
      const std::string text =
          last && last_width > 0 ? FitToWidth(cells[column].text, last_width) : cells[column].text;
      if (!text.empty()) {
        line += Spaces(pending) + Paint(cells[column].style, text, color);
        pending = 0;
      }
      pending += widths[column] - DisplayWidth(text) + kGap;
    }
    absl::StrAppend(&result, line, "\n");
  };
  std::vector<Cell> header;
  for (const std::string& name : header_) header.emplace_back(name, Style::kBold);
  if (!header_hidden_) add_line(header);
  for (const auto& row : rows_) add_line(row);
  return result;
}

void KeyValues::Add(std::string key, Cell value) {
  if (value.text.empty()) return;
  value.text = SanitizeBlock(value.text);
  rows_.emplace_back(std::move(key), std::move(value));
}

std::string KeyValues::Render(bool color) const {
  int widest = 0;
  for (const auto& [key, value] : rows_) widest = std::max(widest, DisplayWidth(key));
  std::string result;
  for (const auto& [key, value] : rows_) {
    const std::string indent = Spaces(widest + 1 + kGap);
    absl::StrAppend(&result, Paint(Style::kBold, key + ":", color),
                    Spaces(widest - DisplayWidth(key) + kGap));
    // Further lines of a value begin where the first does, so that none can pass for a key.
    std::string text = value.text;
    while (!text.empty() && text.back() == '\n') text.pop_back();
    size_t begin = 0;
    for (;;) {
      const size_t end = text.find('\n', begin);
      absl::StrAppend(&result, begin == 0 ? "" : indent,
                      Paint(value.style, text.substr(begin, end - begin), color), "\n");
      if (end == std::string::npos) break;
      begin = end + 1;
    }
  }
  return result;
}

}  // namespace finetuned::cli
