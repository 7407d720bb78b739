#include "daemon/metrics_listener.h"

#include <httplib.h>
#include <prometheus/text_serializer.h>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace finetuned {
namespace {

constexpr size_t kThreads = 2;
constexpr size_t kMaxRequestsPerConnection = 100;
constexpr size_t kMaxRequestBytes = 4096;
constexpr time_t kSilenceSeconds = 1;
constexpr char kTextFormat[] = "text/plain; version=0.0.4";

// Before each handshake, so that it has what the store has then. While a set is being replaced the
// two files may be of different sets; then once more.
int UseCertificate(SSL* ssl, void* store) {
  const auto* certificates = static_cast<const CertificateStore*>(store);
  for (int tries = 0; tries < 2; ++tries) {
    if (SSL_use_certificate_chain_file(ssl, certificates->cert_path().c_str()) == 1 &&
        SSL_use_PrivateKey_file(ssl, certificates->key_path().c_str(), SSL_FILETYPE_PEM) == 1) {
      return 1;
    }
  }
  return 0;
}

std::unique_ptr<httplib::Server> MakeServer(const CertificateStore* tls) {
  if (tls == nullptr) return std::make_unique<httplib::Server>();
  return std::make_unique<httplib::SSLServer>([tls](SSL_CTX& context) {
    SSL_CTX_set_min_proto_version(&context, TLS1_2_VERSION);
    SSL_CTX_set_cert_cb(&context, &UseCertificate, const_cast<CertificateStore*>(tls));
    return true;
  });
}

}  // namespace

MetricsListener::MetricsListener() = default;

absl::StatusOr<std::unique_ptr<MetricsListener>> MetricsListener::Start(
    const std::string& address, const CertificateStore* tls,
    std::shared_ptr<prometheus::Registry> registry) {
  std::unique_ptr<MetricsListener> listener(new MetricsListener());
  listener->server_ = MakeServer(tls);
  httplib::Server& server = *listener->server_;
  server.new_task_queue = [] { return new httplib::ThreadPool(kThreads); };
  server.set_keep_alive_max_count(kMaxRequestsPerConnection);
  server.set_payload_max_length(kMaxRequestBytes);
  server.set_keep_alive_timeout(kSilenceSeconds);
  server.set_read_timeout(kSilenceSeconds);
  server.set_write_timeout(kSilenceSeconds);
  // The library's own would let a second daemon listen on the same port, silently.
  server.set_socket_options([](socket_t socket) {
    const int yes = 1;
    setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  });
  server.Get("/metrics", [registry](const httplib::Request&, httplib::Response& response) {
    response.set_content(prometheus::TextSerializer().Serialize(registry->Collect()), kTextFormat);
  });

  const size_t colon = address.rfind(':');
  std::string host = address.substr(0, colon);
  if (host.size() > 2 && host.front() == '[') host = host.substr(1, host.size() - 2);
  int port = 0;
  const bool bound =
      absl::SimpleAtoi(address.substr(colon + 1), &port) &&
      (port == 0 ? (port = server.bind_to_any_port(host)) > 0 : server.bind_to_port(host, port));
  if (!bound) {
    return MakeError(absl::StatusCode::kFailedPrecondition, "CANNOT_LISTEN",
                     absl::StrCat("metrics_listen: cannot listen on ", address,
                                  ": it is taken by another process or not an address of this "
                                  "host; stop that process or choose another port"));
  }
  listener->port_ = port;
  listener->thread_ = std::thread([&server] { server.listen_after_bind(); });
  // Stopping is heard only by one that runs.
  while (!server.is_running()) std::this_thread::yield();
  return listener;
}

MetricsListener::~MetricsListener() {
  if (!thread_.joinable()) return;
  server_->stop();
  thread_.join();
}

}  // namespace finetuned
