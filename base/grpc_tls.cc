#include "base/grpc_tls.h"

#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_credentials_options.h>

namespace finetuned {
namespace {

using grpc::experimental::FileWatcherCertificateProvider;

std::shared_ptr<FileWatcherCertificateProvider> ProviderOf(const CertificateStore& store) {
  if (!store.has_certificate()) {
    return std::make_shared<FileWatcherCertificateProvider>(store.ca_path(), kCertificateInterval);
  }
  if (!store.has_ca()) {
    return std::make_shared<FileWatcherCertificateProvider>(store.key_path(), store.cert_path(),
                                                            kCertificateInterval);
  }
  return std::make_shared<FileWatcherCertificateProvider>(store.key_path(), store.cert_path(),
                                                          store.ca_path(), kCertificateInterval);
}

}  // namespace

std::shared_ptr<grpc::ServerCredentials> ServerTlsCredentials(const CertificateStore& store,
                                                              bool ask_clients) {
  grpc::experimental::TlsServerCredentialsOptions options(ProviderOf(store));
  options.watch_identity_key_cert_pairs();
  if (ask_clients) {
    options.watch_root_certs();
    options.set_cert_request_type(GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  }
  return grpc::experimental::TlsServerCredentials(options);
}

std::shared_ptr<grpc::ChannelCredentials> ClientTlsCredentials(const CertificateStore& store) {
  grpc::experimental::TlsChannelCredentialsOptions options;
  options.set_certificate_provider(ProviderOf(store));
  options.watch_root_certs();
  if (store.has_certificate()) options.watch_identity_key_cert_pairs();
  return grpc::experimental::TlsCredentials(options);
}

std::vector<std::string> PeerNames(const grpc::AuthContext& context) {
  std::vector<std::string> names;
  for (const char* property : {GRPC_X509_SAN_PROPERTY_NAME, GRPC_X509_CN_PROPERTY_NAME}) {
    for (const grpc::string_ref& value : context.FindPropertyValues(property)) {
      names.emplace_back(value.data(), value.size());
    }
  }
  return names;
}

}  // namespace finetuned
