#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "cli/table.h"

namespace finetuned::cli {

// Rows for people and for spreadsheets: `-o table`, `wide` and `csv`, `--columns`, `--sort`,
// `--no-headers`.
// Pure.
class Listing {
 public:
  struct Options {
    // Also the columns that only `wide` and `csv` have.
    bool wide = false;
    bool csv = false;
    // Names of columns in the order wanted; empty for the usual ones.
    std::vector<std::string> columns;
    // A column, or `column:desc`; empty for the order in which rows were added.
    std::string sort;
    bool headers = true;
    bool color = false;
    // As in Table::Render().
    int width = 0;
  };

  // The names of the columns, `LAST SEEN`, and of those that only `wide` and `csv` have.
  explicit Listing(std::vector<std::string> columns, const std::vector<std::string>& wide = {});

  // Usage error for a name that is no column's: it lists them. `last_seen` is as good as the name.
  absl::Status CheckColumns(const std::vector<std::string>& columns) const;
  // The same for a column to sort by.
  absl::Status CheckSort(const std::string& sort) const;

  // Requires as many cells as there are columns, those of `wide` last.
  void AddRow(std::vector<Cell> cells) { rows_.push_back(std::move(cells)); }

  // Requires columns that CheckColumns() takes. Empty without rows, but for the line of names in
  // csv. In csv an absent value (`-`) is empty, and lines end as RFC 4180 says.
  std::string Render(const Options& options) const;

 private:
  std::vector<size_t> Chosen(const Options& options) const;
  // The rows as they are wanted. Numbers, ages and sizes go by what they say, absent values last.
  std::vector<const std::vector<Cell>*> Sorted(const std::string& sort) const;
  std::string RenderCsv(const std::vector<size_t>& chosen, const Options& options) const;

  std::vector<std::string> columns_;
  // How many of them `table` shows.
  size_t usual_;
  std::vector<std::vector<Cell>> rows_;
};

}  // namespace finetuned::cli
