#pragma once

namespace finetuned {

// Set by CMake from the project's version.
#ifndef FINETUNED_VERSION
#define FINETUNED_VERSION "unknown"
#endif
inline constexpr char kVersion[] = FINETUNED_VERSION;

}  // namespace finetuned
