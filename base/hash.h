#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

// Hashes, by OpenSSL.

namespace finetuned {

// The 32 bytes of SHA-256.
std::string Sha256(std::string_view data);
// SHA-256 in hexadecimal.
std::string Sha256Hex(std::string_view data);
// SHA-256 of a file's content, read in pieces. NOT_FOUND, or INTERNAL when it cannot be read.
absl::StatusOr<std::string> Sha256HexOfFile(const std::string& path);
// SHA-256 of what comes in pieces.
class Sha256Stream {
 public:
  Sha256Stream();
  ~Sha256Stream();
  Sha256Stream(const Sha256Stream&) = delete;
  Sha256Stream& operator=(const Sha256Stream&) = delete;

  void Add(std::string_view data);
  // In hexadecimal; ends it.
  std::string Hex();

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};
// The 32 bytes of HMAC-SHA-256.
std::string HmacSha256(std::string_view key, std::string_view data);
// Compares without telling by its time where they differ.
bool ConstantTimeEqual(std::string_view a, std::string_view b);
// Bytes from the operating system's generator; dies when there are none.
std::string RandomBytes(size_t count);
std::string HexEncode(std::string_view bytes);

}  // namespace finetuned
