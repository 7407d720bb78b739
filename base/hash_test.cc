#include "base/hash.h"
#include "base/crc32.h"

#include <gtest/gtest.h>

#include "base/file.h"
#include "base/uuid.h"

namespace finetuned {
namespace {

TEST(Hash, Sha256OfAbcIsThatOfTheStandard) {
  // FIPS 180-4, example of one block.
  EXPECT_EQ(Sha256Hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(Hash, AFileHashesAsItsContent) {
  const std::string path = ::testing::TempDir() + "/hash_test";
  const std::string content(1000000, 'x');
  ASSERT_TRUE(WriteFileAtomically(path, content).ok());
  EXPECT_EQ(*Sha256HexOfFile(path), Sha256Hex(content));
  EXPECT_EQ(Sha256HexOfFile(path + ".absent").status().code(), absl::StatusCode::kNotFound);
}

TEST(Hash, HmacIsThatOfTheRfc) {
  // RFC 4231, test case 2.
  EXPECT_EQ(HexEncode(HmacSha256("Jefe", "what do ya want for nothing?")),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
}

TEST(Hash, ConstantTimeEqualComparesContentAndLength) {
  EXPECT_TRUE(ConstantTimeEqual("abc", "abc"));
  EXPECT_FALSE(ConstantTimeEqual("abc", "abd"));
  EXPECT_FALSE(ConstantTimeEqual("abc", "ab"));
}

TEST(Uuid, NewOnesAreUuidsOfVersion7ThatAscendWithTime) {
  const std::string early = NewUuid(absl::FromUnixMillis(1000));
  const std::string late = NewUuid(absl::FromUnixMillis(2000));
  EXPECT_TRUE(IsUuid(early));
  EXPECT_EQ(early[14], '7');
  EXPECT_LT(early, late);
  EXPECT_NE(NewUuid(absl::FromUnixMillis(1000)), early);
}

TEST(Uuid, OnlyTheUsualFormIsAUuidAndTheNilOneIsNot) {
  EXPECT_TRUE(IsUuid("0190163d-8694-739b-aea5-966c26f8ad91"));
  EXPECT_FALSE(IsUuid("00000000-0000-0000-0000-000000000000"));
  EXPECT_FALSE(IsUuid("0190163d8694739baea5966c26f8ad91"));
  EXPECT_FALSE(IsUuid("0190163d-8694-739b-aea5-966c26f8ad9g"));
  EXPECT_FALSE(IsUuid(""));
}

// The check value of CRC-32/ISO-HDLC.
TEST(Crc32, IsThatOfZlib) {
  EXPECT_EQ(Crc32("123456789"), 0xCBF43926u);
  EXPECT_EQ(Crc32(""), 0u);
}

}  // namespace
}  // namespace finetuned
