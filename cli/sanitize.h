#pragma once

#include <string>
#include <string_view>

// Makes text of others safe to print. A name, a message or a log line may carry escape sequences
// that move the cursor, rewrite what was printed before or turn the direction of writing; a person
// then reads, or copies and runs, something else than what is there. Such characters are shown
// (`\x1b`, `\u202e`, `\xff`) and never sent.

namespace finetuned::cli {

// Text for a place inside a line: every control character is escaped, newlines and tabs too.
std::string Sanitize(std::string_view text);

// Text of several lines: newlines and tabs stay.
std::string SanitizeBlock(std::string_view text);

// A name as one word of a command line that a person may copy into a shell: sanitized, and quoted
// where the shell would read it as anything but itself.
std::string ShellWord(std::string_view text);

// JSON with the characters that turn the direction of writing as \u escapes, which JSON reads back
// as the same text; protobuf escapes the other control characters by itself.
std::string SanitizeJson(std::string_view json);

// A stream of bytes that comes in pieces, which may end inside a character. Keeps newlines and
// tabs; a carriage return ends a line, because a trainer's progress bar would otherwise overwrite
// what is above. Not safe for concurrent use.
class StreamSanitizer {
 public:
  // The next piece.
  std::string Feed(std::string_view bytes);
  // What is left at the end of the stream.
  std::string Flush();

 private:
  // At most three bytes: the beginning of a character.
  std::string pending_;
  // The last character was a carriage return, which has been written as a newline.
  bool after_return_ = false;
};

}  // namespace finetuned::cli
