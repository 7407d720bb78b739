#pragma once

#include <string>

#include "absl/strings/string_view.h"

namespace finetuned::cli {

// Text on a terminal that is drawn again in the place where it was. Gives the bytes to write; pure.
// Not safe for concurrent use.
class LiveView {
 public:
  // Lines of the terminal, 0 where that is not known. What does not fit is cut, because what has
  // left the screen cannot be drawn over.
  explicit LiveView(int height) : height_(height) {}

  // `text` in lines that are each ended; longer ones than the terminal's are cut by it.
  std::string Draw(const std::string& text);

 private:
  const int height_;
  int shown_ = 0;
};

}  // namespace finetuned::cli
