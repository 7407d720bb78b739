#pragma once

#include <string>

namespace finetuned {

// Whether `host:port` stays on this machine: 127.0.0.0/8, [::1], localhost.
bool IsLoopbackAddress(const std::string& address);

}  // namespace finetuned
