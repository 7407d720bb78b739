#include "cli/sanitize.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "cli/utf8.h"

namespace finetuned::cli {
namespace {

// Characters that order text anew, are not seen, or break lines on some terminals.
bool IsDeceptive(char32_t code) {
  return code == 0x061c || code == 0x180e || code == 0x200b || code == 0x200e || code == 0x200f ||
         (code >= 0x2028 && code <= 0x202e) || (code >= 0x2060 && code <= 0x2069) ||
         code == 0xfeff || (code >= 0xfff9 && code <= 0xfffb) ||
         (code >= 0xe0000 && code <= 0xe007f);
}

bool IsControl(char32_t code) { return code < 0x20 || (code >= 0x7f && code <= 0x9f); }

std::string Escape(char32_t code) {
  switch (code) {
    case '\n': return "\\n";
    case '\t': return "\\t";
    case '\r': return "\\r";
    default: break;
  }
  const auto number = static_cast<uint32_t>(code);
  if (number < 0x80) return absl::StrFormat("\\x%02x", number);
  if (number < 0x10000) return absl::StrFormat("\\u%04x", number);
  return absl::StrFormat("\\U%08x", number);
}

// Escapes all of text; keeps newlines and tabs where they are allowed.
std::string EscapeText(std::string_view text, bool keep_lines) {
  std::string result;
  result.reserve(text.size());
  while (!text.empty()) {
    const Utf8Char first = FirstUtf8(text);
    if (first.kind != Utf8Char::Kind::kValid) {
      for (const char byte : text.substr(0, first.size)) {
        result += absl::StrFormat("\\x%02x", static_cast<unsigned char>(byte));
      }
    } else if (keep_lines && (first.code == '\n' || first.code == '\t')) {
      result += static_cast<char>(first.code);
    } else if (IsControl(first.code) || IsDeceptive(first.code)) {
      result += Escape(first.code);
    } else {
      result.append(text.data(), first.size);
    }
    text.remove_prefix(first.size);
  }
  return result;
}

}  // namespace

std::string Sanitize(std::string_view text) { return EscapeText(text, false); }

std::string SanitizeBlock(std::string_view text) { return EscapeText(text, true); }

std::string ShellWord(std::string_view text) {
  const std::string word = Sanitize(text);
  bool plain = !word.empty();
  for (const char c : word) {
    plain = plain && (absl::ascii_isalnum(static_cast<unsigned char>(c)) ||
                      std::string_view("_-./@:+,").find(c) != std::string_view::npos);
  }
  return plain ? word : absl::StrCat("'", absl::StrReplaceAll(word, {{"'", "'\\''"}}), "'");
}

std::string SanitizeJson(std::string_view json) {
  std::string result;
  result.reserve(json.size());
  while (!json.empty()) {
    const Utf8Char first = FirstUtf8(json);
    const bool escape = first.kind == Utf8Char::Kind::kValid && first.code < 0x10000 &&
                        first.code >= 0x7f && (IsControl(first.code) || IsDeceptive(first.code));
    if (escape) {
      result += absl::StrFormat("\\u%04x", static_cast<uint32_t>(first.code));
    } else {
      result.append(json.data(), first.size);
    }
    json.remove_prefix(first.size);
  }
  return result;
}

std::string StreamSanitizer::Feed(std::string_view bytes) {
  std::string text = std::move(pending_);
  pending_.clear();
  text.append(bytes.data(), bytes.size());
  std::string lines;
  lines.reserve(text.size());
  for (const char byte : text) {
    if (byte == '\r') {
      lines += '\n';
    } else if (byte != '\n' || !after_return_) {
      lines += byte;
    }
    after_return_ = byte == '\r';
  }
  // A character is at most four bytes, so an incomplete one begins in the last three.
  for (size_t back = std::min<size_t>(3, lines.size()); back > 0; --back) {
    const std::string_view tail = std::string_view(lines).substr(lines.size() - back);
    const bool leads = (static_cast<unsigned char>(tail[0]) & 0xc0) == 0xc0;
    if (leads && FirstUtf8(tail).kind == Utf8Char::Kind::kIncomplete) {
      pending_ = std::string(tail);
      lines.resize(lines.size() - back);
      break;
    }
  }
  return EscapeText(lines, true);
}

std::string StreamSanitizer::Flush() {
  std::string rest = EscapeText(pending_, true);
  pending_.clear();
  after_return_ = false;
  return rest;
}

}  // namespace finetuned::cli
