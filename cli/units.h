#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"

// Amounts of bytes as people write and read them. Pure.

namespace finetuned::cli {

// `8GiB`, `8Gi`, `512MiB`, `1.5TiB` (powers of 1,024), `8GB`, `8G` (powers of 1,000), or plain
// bytes. Usage error otherwise, and above 1 PiB, the most that the API takes.
absl::StatusOr<int64_t> ParseBytes(const std::string& text);

// `512 B`, `1.5 GiB`.
std::string FormatBytes(int64_t bytes);

}  // namespace finetuned::cli
