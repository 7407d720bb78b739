#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/hash.h"

// Postgres array literals, for set-based statements: libpqxx 6 has no array parameters. Grown
// element by element, so that a batch builds its columns in one pass.

namespace finetuned {

class ArrayText {
 public:
  ArrayText& Add(int64_t value) { return Raw(std::to_string(value)); }
  ArrayText& Add(int value) { return Raw(std::to_string(value)); }
  ArrayText& Add(double value) { return Raw(std::to_string(value)); }
  ArrayText& Add(bool value) { return Raw(value ? "t" : "f"); }
  ArrayText& Add(const char* value) { return Add(std::string_view(value)); }
  ArrayText& Add(const std::string& value) { return Add(std::string_view(value)); }
  ArrayText& Add(std::string_view value) {
    Separate();
    text_ += '"';
    for (const char c : value) {
      if (c == '"' || c == '\\') text_ += '\\';
      text_ += c;
    }
    text_ += '"';
    return *this;
  }
  // An element of a bytea array.
  ArrayText& AddBytes(std::string_view value) { return Raw("\"\\\\x" + HexEncode(value) + "\""); }

  ArrayText& AddNull() { return Raw("NULL"); }

  // `{...}`
  std::string str() const { return text_ + "}"; }

 private:
  ArrayText& Raw(std::string_view element) {
    Separate();
    text_ += element;
    return *this;
  }
  void Separate() {
    if (text_.size() > 1) text_ += ',';
  }

  std::string text_ = "{";
};

template <typename Values>
std::string ArrayOf(const Values& values) {
  ArrayText text;
  for (const auto& value : values) text.Add(value);
  return text.str();
}

}  // namespace finetuned
