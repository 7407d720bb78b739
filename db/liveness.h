#pragma once

#include <string>

namespace finetuned {

// The address of a database with what notices within about ten seconds that the server is gone
// without a word, asked or not. What the operator says of it in the address counts more.
std::string WithLiveness(const std::string& database_url);

}  // namespace finetuned
