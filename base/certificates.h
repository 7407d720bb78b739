#pragma once

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

// Certificate files in PEM, which operators replace while programs run.

namespace finetuned {

struct CertificateFiles {
  // A certificate with its chain, and its key: both or none.
  std::string cert_file;
  std::string key_file;
  // Authorities; may be empty.
  std::string ca_file;
};

// Copies of the files that always fit together: a set is checked before it takes the place of the
// one before, in one step, and a set that is broken does not. The copies lie in a folder of their
// own that only this process's user may open, and go with the object. Not safe for concurrent use;
// the paths may be read by others.
class CertificateStore {
 public:
  // INVALID_ARGUMENT naming the field under `field` (`tls.key_file`) and the remedy: a file that
  // cannot be read or holds no PEM, a key that is not the certificate's, a certificate that has
  // expired or is not valid yet.
  static absl::StatusOr<std::unique_ptr<CertificateStore>> Open(const std::string& field,
                                                                const CertificateFiles& files,
                                                                absl::Time now);
  ~CertificateStore();
  CertificateStore(const CertificateStore&) = delete;
  CertificateStore& operator=(const CertificateStore&) = delete;

  // Looks at the files again. True when they had changed and are in use now. Errors as Open; the
  // old set then stays in use, and the same broken set is reported once.
  absl::StatusOr<bool> Refresh(absl::Time now);

  bool has_certificate() const { return !files_.cert_file.empty(); }
  bool has_ca() const { return !files_.ca_file.empty(); }
  // Of the copies in use.
  std::string cert_path() const { return Path("cert.pem"); }
  std::string key_path() const { return Path("key.pem"); }
  std::string ca_path() const { return Path("ca.pem"); }
  // When the certificate expires; InfiniteFuture without one.
  absl::Time expire_time() const { return expire_time_; }

 private:
  struct Set;
  CertificateStore(std::string field, CertificateFiles files)
      : field_(std::move(field)), files_(std::move(files)) {}
  absl::StatusOr<Set> Read(absl::Time now) const;
  absl::Status Use(const Set& set);
  std::string Path(const std::string& name) const { return folder_ + "/current/" + name; }

  const std::string field_;
  const CertificateFiles files_;
  std::string folder_;
  int version_ = 0;
  // What was read last, good or not.
  std::string seen_;
  absl::Time expire_time_ = absl::InfiniteFuture();
};

}  // namespace finetuned
