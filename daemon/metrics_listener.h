#pragma once

#include <memory>
#include <string>
#include <thread>

#include <prometheus/registry.h>

#include "absl/status/statusor.h"
#include "base/certificates.h"

namespace httplib {
class Server;
}

namespace finetuned {

// Serves GET /metrics in Prometheus' text format, over HTTPS with certificates. Requests are small
// and few: one second in which a scraper says nothing ends its turn, so that none holds up others.
class MetricsListener {
 public:
  // FAILED_PRECONDITION `CANNOT_LISTEN`. `tls` may be null and outlives the listener.
  static absl::StatusOr<std::unique_ptr<MetricsListener>> Start(
      const std::string& address, const CertificateStore* tls,
      std::shared_ptr<prometheus::Registry> registry);
  // Stops listening.
  ~MetricsListener();

  int port() const { return port_; }

 private:
  MetricsListener();

  std::unique_ptr<httplib::Server> server_;
  std::thread thread_;
  int port_ = 0;
};

}  // namespace finetuned
