#pragma once

#include <string>
#include <string_view>

// UTF-8, read one character at a time. Pure; safe for concurrent use.

namespace finetuned::cli {

// What stands at the front of a text.
struct Utf8Char {
  enum class Kind {
    // A character.
    kValid,
    // A byte that no character begins with or goes on with.
    kInvalid,
    // The text ends inside a character that more bytes could complete.
    kIncomplete,
  };

  Kind kind = Kind::kInvalid;
  char32_t code = 0;
  // Bytes to step over: the character's, 1 for an invalid byte, all that are left for an incomplete
  // one.
  size_t size = 1;
};

// Requires text not to be empty. Overlong forms, surrogates and codes above U+10FFFF are invalid.
Utf8Char FirstUtf8(std::string_view text);

// The character in UTF-8.
std::string EncodeUtf8(char32_t code);

}  // namespace finetuned::cli
