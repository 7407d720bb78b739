#include "base/uuid.h"

#include <ctype.h>

#include "base/hash.h"

namespace finetuned {

std::string NewUuid(absl::Time now) {
  std::string bytes = RandomBytes(16);
  const int64_t millis = absl::ToUnixMillis(now);
  for (int i = 0; i < 6; ++i) bytes[i] = static_cast<char>(millis >> (8 * (5 - i)));
  bytes[6] = static_cast<char>((bytes[6] & 0x0f) | 0x70);  // Version 7.
  bytes[8] = static_cast<char>((bytes[8] & 0x3f) | 0x80);  // The RFC's variant.
  std::string text = HexEncode(bytes);
  for (const size_t at : {8, 13, 18, 23}) text.insert(at, 1, '-');
  return text;
}

bool IsUuid(std::string_view text) {
  if (text.size() != 36) return false;
  bool nil = true;
  for (size_t i = 0; i < text.size(); ++i) {
    if (i == 8 || i == 13 || i == 18 || i == 23) {
      if (text[i] != '-') return false;
    } else {
      if (isxdigit(static_cast<unsigned char>(text[i])) == 0) return false;
      if (text[i] != '0') nil = false;
    }
  }
  return !nil;
}

}  // namespace finetuned
