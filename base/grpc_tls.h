#pragma once

#include <memory>
#include <string>
#include <vector>

#include <grpcpp/grpcpp.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/security/server_credentials.h>

#include "base/certificates.h"

// TLS for gRPC. New connections use what the store has at that time, open ones go on.

namespace finetuned {

// How often gRPC looks whether the store has something new.
inline constexpr int kCertificateInterval = 1;  // seconds

// The store has a certificate. With its authorities a caller must show a certificate signed by one
// where `ask_clients` says so.
std::shared_ptr<grpc::ServerCredentials> ServerTlsCredentials(const CertificateStore& store,
                                                              bool ask_clients);

// Checks the server's certificate, its name included, against the store's authorities, and shows
// the store's certificate where it has one.
std::shared_ptr<grpc::ChannelCredentials> ClientTlsCredentials(const CertificateStore& store);

// The names in the certificate that the caller has shown: subject alternative names, and the common
// name. Empty without one.
std::vector<std::string> PeerNames(const grpc::AuthContext& context);

}  // namespace finetuned
