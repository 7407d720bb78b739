#include "base/certificates.h"

#include <stdlib.h>
#include <sys/stat.h>

#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/status.h"

namespace finetuned {
namespace {

using ::testing::HasSubstr;

class CertificatesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = ::testing::TempDir() + "certificates-XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
    Make("one", 10);
    Make("two", 20);
    Take("one");
    files_ = {folder_ + "/cert.pem", folder_ + "/key.pem", folder_ + "/ca.pem"};
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  // A certificate of its own authority that is valid for some days.
  void Make(const std::string& name, int days) {
    const std::string path = absl::StrCat(folder_, "/", name);
    ASSERT_EQ(system(absl::StrCat("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 "
                                  "-nodes -keyout ",
                                  path, ".key -out ", path, ".crt -days ", days,
                                  " -subj /CN=", name, " 2>/dev/null")
                         .c_str()),
              0);
  }
  std::string Content(const std::string& path) { return ReadFile(path).value_or("unreadable"); }
  void Put(const std::string& name, const std::string& content) {
    ASSERT_TRUE(WriteFileAtomically(absl::StrCat(folder_, "/", name), content).ok());
  }
  void Take(const std::string& name) {
    Put("cert.pem", Content(absl::StrCat(folder_, "/", name, ".crt")));
    Put("key.pem", Content(absl::StrCat(folder_, "/", name, ".key")));
    Put("ca.pem", Content(absl::StrCat(folder_, "/", name, ".crt")));
  }
  absl::StatusOr<std::unique_ptr<CertificateStore>> Open() {
    return CertificateStore::Open("tls", files_, now_);
  }

  std::string folder_;
  CertificateFiles files_;
  absl::Time now_ = RealClock::Get().Now() + absl::Hours(1);
};

TEST_F(CertificatesTest, KeepsCopiesThatOnlyItsUserMayRead) {
  std::string path;
  {
    const auto store = Open();
    ASSERT_TRUE(store.ok()) << store.status();
    EXPECT_EQ(Content((*store)->cert_path()), Content(files_.cert_file));
    EXPECT_EQ(Content((*store)->key_path()), Content(files_.key_file));
    EXPECT_EQ(Content((*store)->ca_path()), Content(files_.ca_file));
    EXPECT_GT((*store)->expire_time(), now_ + absl::Hours(24 * 9));
    EXPECT_LT((*store)->expire_time(), now_ + absl::Hours(24 * 11));
    struct stat info;
    path = (*store)->key_path();
    ASSERT_EQ(stat(path.c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 077, 0u);
    ASSERT_EQ(stat(std::filesystem::path(path).parent_path().parent_path().c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 077, 0u);
  }
  EXPECT_FALSE(FileExists(path));
}

TEST_F(CertificatesTest, ANewPairReplacesTheOldAndABrokenOneDoesNot) {
  const auto store = Open();
  ASSERT_TRUE(store.ok()) << store.status();
  EXPECT_FALSE((*store)->Refresh(now_).value());
  // The key is there before its certificate: for a moment they do not fit.
  Put("key.pem", Content(folder_ + "/two.key"));
  EXPECT_THAT(std::string((*store)->Refresh(now_).status().message()),
              HasSubstr("tls.key_file: " + files_.key_file + " holds no key"));
  // Said once.
  EXPECT_FALSE((*store)->Refresh(now_).value());
  EXPECT_EQ(Content((*store)->key_path()), Content(folder_ + "/one.key"));
  EXPECT_EQ(Content((*store)->cert_path()), Content(folder_ + "/one.crt"));
  Put("cert.pem", Content(folder_ + "/two.crt"));
  EXPECT_TRUE((*store)->Refresh(now_).value());
  EXPECT_EQ(Content((*store)->key_path()), Content(folder_ + "/two.key"));
  EXPECT_EQ(Content((*store)->cert_path()), Content(folder_ + "/two.crt"));
  EXPECT_GT((*store)->expire_time(), now_ + absl::Hours(24 * 19));
  Put("cert.pem", "");
  EXPECT_FALSE((*store)->Refresh(now_).ok());
  EXPECT_EQ(Content((*store)->cert_path()), Content(folder_ + "/two.crt"));
}

TEST_F(CertificatesTest, WhatCannotBeUsedIsRefusedByName) {
  const auto refused = [this](const std::string& field, const std::string& why) {
    const auto store = Open();
    EXPECT_EQ(store.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(ErrorReason(store.status()), "BAD_CONFIG");
    EXPECT_THAT(std::string(store.status().message()), HasSubstr(field));
    EXPECT_THAT(std::string(store.status().message()), HasSubstr(why));
  };
  now_ += absl::Hours(24 * 11);
  refused("tls.cert_file", "has expired at");
  now_ -= absl::Hours(24 * 30);
  refused("tls.cert_file", "is not valid before");
  now_ += absl::Hours(24 * 19);
  Put("ca.pem", "not PEM");
  refused("tls.ca_file", "holds no certificate");
  Take("one");
  Put("key.pem", Content(folder_ + "/two.key"));
  refused("tls.key_file", "holds no key of the certificate");
  Take("one");
  ASSERT_EQ(system(absl::StrCat("openssl ec -aes128 -passout pass:x -in ", folder_,
                                "/one.key -out ", folder_, "/key.pem 2>/dev/null")
                       .c_str()),
            0);
  refused("tls.key_file", "without a passphrase");
  std::filesystem::remove(files_.key_file);
  refused("tls.key_file", files_.key_file);
  files_.key_file.clear();
  refused("tls.key_file", "is required");
}

TEST_F(CertificatesTest, AuthoritiesAloneAreEnoughForAClient) {
  files_ = {"", "", folder_ + "/ca.pem"};
  const auto store = Open();
  ASSERT_TRUE(store.ok()) << store.status();
  EXPECT_FALSE((*store)->has_certificate());
  EXPECT_EQ(Content((*store)->ca_path()), Content(folder_ + "/one.crt"));
  EXPECT_EQ((*store)->expire_time(), absl::InfiniteFuture());
}

}  // namespace
}  // namespace finetuned
