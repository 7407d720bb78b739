#include "base/address.h"

#include <arpa/inet.h>

namespace finetuned {

bool IsLoopbackAddress(const std::string& address) {
  const std::string host = address.substr(0, address.rfind(':'));
  in_addr ip;
  const bool is_ip = inet_pton(AF_INET, host.c_str(), &ip) == 1;
  return host == "localhost" || host == "[::1]" || (is_ip && ntohl(ip.s_addr) >> 24 == 127);
}

}  // namespace finetuned
