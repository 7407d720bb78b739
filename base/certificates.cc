#include "base/certificates.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/status.h"

namespace finetuned {
namespace {

constexpr size_t kMaxPemBytes = 1 << 20;

using CertificatePtr = std::unique_ptr<X509, void (*)(X509*)>;
using BioPtr = std::unique_ptr<BIO, int (*)(BIO*)>;

absl::Status Bad(const std::string& field, const std::string& what) {
  return MakeError(absl::StatusCode::kInvalidArgument, "BAD_CONFIG",
                   absl::StrCat(field, ": ", what));
}

BioPtr BioOf(const std::string& text) {
  return BioPtr(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())), &BIO_free);
}

// The first certificate of a PEM text; null without one.
CertificatePtr FirstCertificate(const std::string& pem) {
  const BioPtr bio = BioOf(pem);
  CertificatePtr certificate(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr), &X509_free);
  ERR_clear_error();
  return certificate;
}

// A key with a passphrase is none: nobody is there to type it.
int NoPassphrase(char*, int, int, void*) { return -1; }

bool Fits(const std::string& key_pem, X509* certificate) {
  const BioPtr bio = BioOf(key_pem);
  const std::unique_ptr<EVP_PKEY, void (*)(EVP_PKEY*)> key(
      PEM_read_bio_PrivateKey(bio.get(), nullptr, &NoPassphrase, nullptr), &EVP_PKEY_free);
  const bool fits = key != nullptr && X509_check_private_key(certificate, key.get()) == 1;
  ERR_clear_error();
  return fits;
}

absl::Time TimeOf(const ASN1_TIME* time) {
  struct tm parts = {};
  if (ASN1_TIME_to_tm(time, &parts) != 1) return absl::InfinitePast();
  return absl::FromTimeT(timegm(&parts));
}

absl::StatusOr<std::string> ReadPem(const std::string& field, const std::string& path) {
  auto text = ReadFile(path, kMaxPemBytes);
  if (!text.ok()) return Bad(field, std::string(text.status().message()));
  return text;
}

}  // namespace

struct CertificateStore::Set {
  std::string cert, key, ca;
  absl::Time expire_time = absl::InfiniteFuture();
};

absl::StatusOr<CertificateStore::Set> CertificateStore::Read(absl::Time now) const {
  Set set;
  if (has_ca()) {
    const std::string field = field_ + ".ca_file";
    FT_ASSIGN_OR_RETURN(set.ca, ReadPem(field, files_.ca_file));
    if (FirstCertificate(set.ca) == nullptr) {
      return Bad(field, files_.ca_file + " holds no certificate in PEM");
    }
  }
  if (!has_certificate()) return set;
  FT_ASSIGN_OR_RETURN(set.cert, ReadPem(field_ + ".cert_file", files_.cert_file));
  FT_ASSIGN_OR_RETURN(set.key, ReadPem(field_ + ".key_file", files_.key_file));
  const CertificatePtr certificate = FirstCertificate(set.cert);
  if (certificate == nullptr) {
    return Bad(field_ + ".cert_file", files_.cert_file + " holds no certificate in PEM");
  }
  if (!Fits(set.key, certificate.get())) {
    return Bad(field_ + ".key_file",
               absl::StrCat(files_.key_file, " holds no key of the certificate in ",
                            files_.cert_file, " (in PEM, without a passphrase)"));
  }
  set.expire_time = TimeOf(X509_get0_notAfter(certificate.get()));
  if (set.expire_time <= now) {
    return Bad(
        field_ + ".cert_file",
        absl::StrCat("the certificate in ", files_.cert_file, " has expired at ",
                     absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", set.expire_time, absl::UTCTimeZone()),
                     "; put a new one there, with its key"));
  }
  const absl::Time begin = TimeOf(X509_get0_notBefore(certificate.get()));
  if (begin > now) {
    return Bad(field_ + ".cert_file",
               absl::StrCat("the certificate in ", files_.cert_file, " is not valid before ",
                            absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", begin, absl::UTCTimeZone()),
                            "; is this host's clock right?"));
  }
  return set;
}

absl::StatusOr<std::unique_ptr<CertificateStore>> CertificateStore::Open(
    const std::string& field, const CertificateFiles& files, absl::Time now) {
  if (files.cert_file.empty() != files.key_file.empty()) {
    return Bad(field + (files.cert_file.empty() ? ".cert_file" : ".key_file"),
               "is required with the other of the pair");
  }
  std::unique_ptr<CertificateStore> store(new CertificateStore(field, files));
  std::error_code error;
  std::string pattern =
      std::filesystem::temp_directory_path(error).string() + "/finetuned-tls-XXXXXX";
  if (error || mkdtemp(pattern.data()) == nullptr) {
    return Bad(field, "cannot make a folder for copies of certificates in the temporary folder");
  }
  store->folder_ = pattern;
  FT_RETURN_IF_ERROR(store->Refresh(now).status());
  return store;
}

CertificateStore::~CertificateStore() {
  std::error_code error;
  if (!folder_.empty()) std::filesystem::remove_all(folder_, error);
}

absl::StatusOr<bool> CertificateStore::Refresh(absl::Time now) {
  const auto set = Read(now);
  const std::string seen = set.ok() ? Sha256(absl::StrCat(set->cert, "|", set->key, "|", set->ca))
                                    : std::string(set.status().message());
  if (seen == seen_) return false;
  if (!set.ok()) {
    seen_ = seen;
    return set.status();
  }
  FT_RETURN_IF_ERROR(Use(*set));  // not seen before it is in use: the next look tries again
  seen_ = seen;
  expire_time_ = set->expire_time;
  return true;
}

// Readers open files through the link `current`, which is replaced in one step.
absl::Status CertificateStore::Use(const Set& set) {
  const std::string name = absl::StrCat("set-", ++version_);
  const std::string folder = absl::StrCat(folder_, "/", name);
  FT_RETURN_IF_ERROR(MakeDirectories(folder, 0700));
  const std::pair<const char*, std::string> files[] = {
      {"cert.pem", set.cert}, {"key.pem", set.key}, {"ca.pem", set.ca}};
  for (const auto& [file, content] : files) {
    if (content.size() > 1) {
      FT_RETURN_IF_ERROR(WriteFileAtomically(absl::StrCat(folder, "/", file), content, 0600));
    }
  }
  const std::string next = folder_ + "/next", current = folder_ + "/current";
  unlink(next.c_str());
  if (symlink(name.c_str(), next.c_str()) != 0 || rename(next.c_str(), current.c_str()) != 0) {
    return ErrnoError(errno, "cannot replace", current);
  }
  std::error_code error;
  std::filesystem::remove_all(absl::StrCat(folder_, "/set-", version_ - 1), error);
  return absl::OkStatus();
}

}  // namespace finetuned
