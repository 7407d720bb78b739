#include "daemon/text.h"

#include <algorithm>

namespace finetuned {
namespace {

bool IsControl(char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }

// Whether a character continues here, so that a cut would split it.
bool Continues(char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }

}  // namespace

bool HasControl(const std::string& text) {
  return std::any_of(text.begin(), text.end(), IsControl);
}

size_t CharacterCount(const std::string& text) {
  return text.size() - static_cast<size_t>(std::count_if(text.begin(), text.end(), Continues));
}

std::string OneLine(const std::string& text, size_t max_bytes) {
  size_t end = std::min(text.size(), max_bytes);
  while (end > 0 && end < text.size() && Continues(text[end])) --end;
  std::string line = text.substr(0, end);
  std::replace_if(line.begin(), line.end(), IsControl, ' ');
  return line;
}

std::string LastLines(const std::string& text, size_t max_bytes) {
  size_t begin = text.size() > max_bytes ? text.size() - max_bytes : 0;
  while (begin > 0 && begin < text.size() && Continues(text[begin])) ++begin;
  std::string lines = text.substr(begin);
  std::replace(lines.begin(), lines.end(), '\0', ' ');
  return lines;
}

}  // namespace finetuned
