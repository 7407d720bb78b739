#pragma once

#include "cli/session.h"
#include "nlohmann/json.hpp"

namespace finetuned::cli {

// Writes what is not a message of the API in the format json, jsonl or yaml. False in another.
bool PrintJson(Session& session, const nlohmann::ordered_json& json);

}  // namespace finetuned::cli
