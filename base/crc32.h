#pragma once

#include <cstdint>
#include <string_view>

namespace finetuned {

// CRC-32 as in zlib and Ethernet: finds what a crash or a disk has damaged, and no forgery.
uint32_t Crc32(std::string_view data);

}  // namespace finetuned
