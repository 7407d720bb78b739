#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "cli/style.h"

// Text in columns. Widths are those on a terminal: a Chinese character takes two cells, a combining
// mark none. Pure.

namespace finetuned::cli {

// Cells that text takes on a terminal. Requires text without control characters (see sanitize.h).
int DisplayWidth(std::string_view text);

// The longest beginning that fits, with `…` where something was cut. Width below 1 gives an empty
// text.
std::string FitToWidth(std::string_view text, int width);

// One cell. The text is sanitized when it is added.
struct Cell {
  Cell(std::string text_in, Style style_in = Style::kNone)
      : text(std::move(text_in)), style(style_in) {}
  Cell(const char* text_in) : text(text_in) {}

  std::string text;
  Style style = Style::kNone;
};

// A table with a header, columns two spaces apart, no spaces at the ends of lines.
class Table {
 public:
  explicit Table(std::vector<std::string> header) : header_(std::move(header)) {}

  // Requires as many cells as the header has.
  void AddRow(std::vector<Cell> cells);

  // Leaves the line of names out.
  void HideHeader() { header_hidden_ = true; }

  // The table, each line ended. With a width, the last column is cut so that lines fit; the others
  // are never cut, because they hold what is copied.
  std::string Render(bool color, int width = 0) const;

 private:
  std::vector<std::string> header_;
  bool header_hidden_ = false;
  std::vector<std::vector<Cell>> rows_;
};

// A page of `key:  value` lines with the values in one column. Rows without a value are left out.
class KeyValues {
 public:
  void Add(std::string key, Cell value);
  std::string Render(bool color) const;

 private:
  std::vector<std::pair<std::string, Cell>> rows_;
};

}  // namespace finetuned::cli
