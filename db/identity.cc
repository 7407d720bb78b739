#include "db/identity.h"

#include "base/hash.h"
#include "base/status.h"
#include "db/queries.h"
#include "db/row.h"

namespace finetuned {
namespace {

// 256 bits; the prefix lets people and scanners of leaked secrets tell what it is.
constexpr size_t kTokenBytes = 32;
constexpr char kTokenPrefix[] = "ftk_";

}  // namespace

absl::StatusOr<int64_t> IdentityStore::EnsureId(const char* query, const std::string& text,
                                                std::optional<int64_t> workspace_id) {
  int64_t id = 0;
  // Two callers may make one row at once; the second finds it with its second look.
  for (int i = 0; i < 2 && id == 0; ++i) {
    FT_RETURN_IF_ERROR(pool_.Read(query, [&](pqxx::transaction_base& tx) {
      const auto rows = workspace_id.has_value() ? tx.exec_prepared(query, *workspace_id, text)
                                                 : tx.exec_prepared(query, text);
      if (!rows.empty()) id = rows[0][0].as<int64_t>();
      return absl::OkStatus();
    }));
  }
  if (id == 0) return absl::InternalError("a row could be neither found nor made");
  return id;
}

absl::StatusOr<std::optional<Identity>> IdentityStore::FindToken(const std::string& token) {
  std::optional<Identity> identity;
  FT_RETURN_IF_ERROR(pool_.Read("find_token", [&](pqxx::transaction_base& tx) {
    identity.reset();
    const auto rows = tx.exec_prepared(kFindToken.name, Bytes(Sha256(token)));
    if (rows.empty()) return absl::OkStatus();
    identity.emplace();
    identity->workspace_id = rows[0]["workspace_id"].as<int64_t>();
    identity->workspace = rows[0]["workspace"].c_str();
    identity->share_runs = rows[0]["share_runs"].as<bool>();
    if (!rows[0]["owner_id"].is_null()) identity->owner_id = rows[0]["owner_id"].as<int64_t>();
    identity->email = rows[0]["email"].c_str();
    identity->role = rows[0]["role"].c_str();
    identity->worker = rows[0]["worker_name"].c_str();
    return absl::OkStatus();
  }));
  if (!identity.has_value() || identity->owner_id != 0) return identity;
  FT_ASSIGN_OR_RETURN(identity->owner_id,
                      EnsureId(kEnsureOwner.name, identity->email, identity->workspace_id));
  return identity;
}

absl::StatusOr<std::string> IdentityStore::CreateToken(const std::string& workspace,
                                                       const std::string& email,
                                                       const std::string& role,
                                                       absl::Duration lifetime,
                                                       const std::string& worker) {
  FT_ASSIGN_OR_RETURN(const int64_t workspace_id,
                      EnsureId(kEnsureWorkspace.name, workspace, std::nullopt));
  const std::string token = kTokenPrefix + HexEncode(RandomBytes(kTokenBytes));
  FT_RETURN_IF_ERROR(pool_.Read("create_token", [&](pqxx::transaction_base& tx) {
    tx.exec_prepared(kCreateToken.name, Bytes(Sha256(token)), workspace_id, email, role,
                     absl::ToInt64Seconds(lifetime), worker);
    return absl::OkStatus();
  }));
  return token;
}

absl::StatusOr<bool> IdentityStore::RevokeToken(const std::string& token) {
  bool revoked = false;
  FT_RETURN_IF_ERROR(pool_.Read("revoke_token", [&](pqxx::transaction_base& tx) {
    revoked = tx.exec_prepared(kRevokeToken.name, Bytes(Sha256(token))).affected_rows() > 0;
    return absl::OkStatus();
  }));
  return revoked;
}

absl::StatusOr<std::string> IdentityStore::PageTokenKey() {
  std::string key;
  FT_RETURN_IF_ERROR(pool_.Read("get_installation", [&](pqxx::transaction_base& tx) {
    key = BytesOf(tx.exec_prepared1(kGetInstallation.name)[0]);
    return absl::OkStatus();
  }));
  return key;
}

absl::Status IdentityStore::EnsureEventPartitions() {
  return pool_.Read("ensure_event_partitions", [&](pqxx::transaction_base& tx) {
    tx.exec_prepared(kMakeEventPartitions.name);
    return absl::OkStatus();
  });
}

}  // namespace finetuned
