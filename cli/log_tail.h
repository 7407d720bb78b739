#pragma once

#include <cstdint>
#include <string_view>

// Counting lines from the end of a log. Pure.

namespace finetuned::cli {

// Lines in a text; one that is not ended counts.
int64_t CountLines(std::string_view text);

// The last `count` lines of a text, with their ends; all of it when there are fewer.
std::string_view LastLines(std::string_view text, int64_t count);

}  // namespace finetuned::cli
