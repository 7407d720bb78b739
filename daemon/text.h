#pragma once

#include <cstddef>
#include <string>

// Text that came from outside. All of it is UTF-8: gRPC refuses a message whose strings are not.

namespace finetuned {

// Whether text has a control character of ASCII: a line break, an escape, U+0000.
bool HasControl(const std::string& text);

// Code points, which is what the limits of the API count.
size_t CharacterCount(const std::string& text);

// One line for a person, of at most `max_bytes`: control characters become spaces, and the end is
// cut between characters.
std::string OneLine(const std::string& text, size_t max_bytes);

// The last `max_bytes`, cut between characters, with its lines; U+0000, which Postgres cannot
// store, becomes a space.
std::string LastLines(const std::string& text, size_t max_bytes);

}  // namespace finetuned
