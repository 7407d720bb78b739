#include "daemon/daemon_config.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "artifacts/artifact_store.h"
#include "base/address.h"
#include "base/file.h"
#include "base/status.h"
#include "base/time.h"

namespace finetuned {
namespace {

// Of a time that grows with each failure.
constexpr absl::Duration kLongestGrowing = absl::Hours(24 * 30);
constexpr absl::Duration kLongestShutdownGrace = absl::Hours(1);

absl::Status Bad(const std::string& what) {
  return MakeError(absl::StatusCode::kInvalidArgument, "BAD_CONFIG", what);
}

void Default(std::string* field, const char* value) {
  if (field->empty()) *field = value;
}

void Default(google::protobuf::Duration* field, absl::Duration value) {
  if (field->seconds() == 0 && field->nanos() == 0) *field = ToProtoDuration(value);
}

absl::Status CheckListen(const char* field, const std::string& address, bool tls) {
  const size_t colon = address.rfind(':');
  int port = -1;
  if (colon == std::string::npos || !absl::SimpleAtoi(address.substr(colon + 1), &port) ||
      port < 0 || port > 65535) {
    return Bad(absl::StrCat(field, ": \"", address, "\" is not `host:port`"));
  }
  if (!tls && !IsLoopbackAddress(address)) {
    return Bad(
        absl::StrCat(field, ": ", address,
                     " is not a loopback address, and without TLS nothing else is served; set "
                     "tls.cert_file and tls.key_file, or use 127.0.0.1 and a proxy in front"));
  }
  return absl::OkStatus();
}

// What is in the files is checked when they are read.
absl::Status CheckTls(const config::v1::ServerTls& tls, bool given) {
  if (!given) return absl::OkStatus();
  if (tls.cert_file().empty()) return Bad("tls.cert_file: is required with tls");
  if (tls.key_file().empty()) return Bad("tls.key_file: is required with tls");
  if (tls.check_worker_names() && tls.client_ca_file().empty()) {
    return Bad(
        "tls.check_worker_names: needs tls.client_ca_file: without it workers show no names");
  }
  return absl::OkStatus();
}

absl::Status CheckHub(const config::v1::DaemonHub& hub) {
  for (const std::string& model : hub.models()) {
    const size_t slash = model.find('/');
    if (slash == std::string::npos || slash == 0 || slash + 1 == model.size() ||
        model.find('/', slash + 1) != std::string::npos ||
        (model.find('*') != std::string::npos && model.substr(slash) != "/*")) {
      return Bad(absl::StrCat("hub.models: ", model,
                              " is neither {organization}/{model} nor {organization}/*"));
    }
  }
  return absl::OkStatus();
}

// A time that doubles from its first value to its longest.
absl::Status CheckGrowing(const google::protobuf::Duration& first, const std::string& name,
                          const google::protobuf::Duration& longest) {
  const bool valid = IsValid(first) && IsValid(longest);
  if (valid && FromProtoDuration(first) > absl::ZeroDuration() &&
      FromProtoDuration(first) <= FromProtoDuration(longest) &&
      FromProtoDuration(longest) <= kLongestGrowing) {
    return absl::OkStatus();
  }
  return Bad(absl::StrCat(name, ": must be more than 0 and at most longest_", name,
                          ", which may be 30 days"));
}

}  // namespace

CertificateFiles FilesOf(const config::v1::ServerTls& tls) {
  return {tls.cert_file(), tls.key_file(), tls.client_ca_file()};
}

QuotaLimits QuotaLimitsOf(const config::v1::DaemonConfig& config) {
  QuotaLimits limits;
  limits.active = config.active_runs_limit();
  if (config.has_holding_runs_limit()) limits.holding = config.holding_runs_limit();
  return limits;
}

RetryLimits RetryLimitsOf(const config::v1::DaemonConfig& config) {
  RetryLimits limits;
  limits.infrastructure = config.infrastructure_retries();
  limits.stalls = config.stall_retries();
  limits.worker_losses = config.worker_losses_limit();
  limits.first_delay = FromProtoDuration(config.retry_delay_duration());
  limits.longest_delay = FromProtoDuration(config.longest_retry_delay_duration());
  return limits;
}

QuarantinePolicy QuarantinePolicyOf(const config::v1::DaemonConfig& config) {
  QuarantinePolicy policy;
  policy.losses = config.quarantine_losses();
  policy.first = FromProtoDuration(config.quarantine_duration());
  policy.longest = FromProtoDuration(config.longest_quarantine_duration());
  return policy;
}

LeaseTimes LeaseTimesOf(const config::v1::LeaseConfig& config) {
  LeaseTimes times;
  times.renew_interval = FromProtoDuration(config.renew_interval_duration());
  times.self_stop = FromProtoDuration(config.self_stop_duration());
  times.grace = FromProtoDuration(config.grace_duration());
  times.margin = FromProtoDuration(config.margin_duration());
  times.reassign = FromProtoDuration(config.reassign_duration());
  return times;
}

absl::Status PrepareDaemonConfig(config::v1::DaemonConfig* config) {
  Default(config->mutable_listen(), "127.0.0.1:7070");
  Default(config->mutable_worker_listen(), "127.0.0.1:7071");
  Default(config->mutable_metrics_listen(), "127.0.0.1:7072");
  FT_RETURN_IF_ERROR(CheckTls(config->tls(), config->has_tls()));
  FT_RETURN_IF_ERROR(CheckListen("listen", config->listen(), config->has_tls()));
  FT_RETURN_IF_ERROR(CheckListen("worker_listen", config->worker_listen(), config->has_tls()));
  FT_RETURN_IF_ERROR(CheckListen("metrics_listen", config->metrics_listen(), config->has_tls()));
  FT_RETURN_IF_ERROR(CheckHub(config->hub()));
  if (config->database_url().empty()) {
    return Bad(
        "database_url: is required, e.g. postgresql://finetuned_daemon@db.example/finetuned; "
        "or run `finetuned dev`, which brings its own Postgres");
  }
  if (config->artifact_root().empty() || config->artifact_root()[0] != '/') {
    return Bad("artifact_root: is required, an absolute path");
  }
  FT_RETURN_IF_ERROR(ArtifactStore(config->artifact_root()).Check());
  for (const std::string& root : config->data_roots()) {
    if (root.empty() || root[0] != '/') return Bad("data_roots: must be absolute paths");
  }
  if (config->model_roots_size() == 0) {
    return Bad("model_roots: is required: folders with {organisation}/{model}/config.json");
  }
  auto* compute = config->mutable_default_compute();
  if (compute->cpus() == 0) compute->set_cpus(1);
  if (config->active_runs_limit() == 0) config->set_active_runs_limit(10);
  if (config->active_runs_limit() < 1 || config->active_runs_limit() > 100000) {
    return Bad("active_runs_limit: must be from 1 to 100000");
  }
  if (config->has_holding_runs_limit() &&
      (config->holding_runs_limit() < 1 || config->holding_runs_limit() > 100000)) {
    return Bad("holding_runs_limit: must be from 1 to 100000; leave it out for no limit");
  }
  const RetryLimits retries;
  if (!config->has_infrastructure_retries()) {
    config->set_infrastructure_retries(retries.infrastructure);
  }
  if (config->infrastructure_retries() < 0 || config->infrastructure_retries() > 1000) {
    return Bad("infrastructure_retries: must be from 0 to 1000");
  }
  if (!config->has_stall_retries()) config->set_stall_retries(retries.stalls);
  if (config->stall_retries() < 0 || config->stall_retries() > 1000) {
    return Bad("stall_retries: must be from 0 to 1000");
  }
  if (!config->has_worker_losses_limit()) {
    config->set_worker_losses_limit(retries.worker_losses);
  }
  if (config->worker_losses_limit() < 0 || config->worker_losses_limit() > 1000) {
    return Bad("worker_losses_limit: must be from 0 to 1000; 0 for never");
  }
  Default(config->mutable_retry_delay_duration(), retries.first_delay);
  Default(config->mutable_longest_retry_delay_duration(), retries.longest_delay);
  FT_RETURN_IF_ERROR(CheckGrowing(config->retry_delay_duration(), "retry_delay_duration",
                                  config->longest_retry_delay_duration()));
  const QuarantinePolicy quarantine;
  if (!config->has_quarantine_losses()) config->set_quarantine_losses(quarantine.losses);
  if (config->quarantine_losses() < 0 || config->quarantine_losses() > kMaxQuarantineLosses) {
    return Bad(absl::StrCat("quarantine_losses: must be from 0 to ", kMaxQuarantineLosses,
                            "; 0 for never"));
  }
  Default(config->mutable_quarantine_duration(), quarantine.first);
  Default(config->mutable_longest_quarantine_duration(), quarantine.longest);
  FT_RETURN_IF_ERROR(CheckGrowing(config->quarantine_duration(), "quarantine_duration",
                                  config->longest_quarantine_duration()));
  if (config->read_connections() == 0) config->set_read_connections(4);
  if (config->read_connections() < 1 || config->read_connections() > 64) {
    return Bad("read_connections: must be from 1 to 64");
  }
  Default(config->mutable_shutdown_grace_duration(), absl::Seconds(10));
  if (!IsValid(config->shutdown_grace_duration()) ||
      FromProtoDuration(config->shutdown_grace_duration()) < absl::ZeroDuration() ||
      FromProtoDuration(config->shutdown_grace_duration()) > kLongestShutdownGrace) {
    return Bad("shutdown_grace_duration: must be from 0s to 1h");
  }
  const LeaseTimes defaults;
  auto* lease = config->mutable_lease();
  Default(lease->mutable_renew_interval_duration(), defaults.renew_interval);
  Default(lease->mutable_self_stop_duration(), defaults.self_stop);
  Default(lease->mutable_grace_duration(), defaults.grace);
  Default(lease->mutable_margin_duration(), defaults.margin);
  Default(lease->mutable_reassign_duration(), defaults.reassign);
  return CheckLeaseTimes(LeaseTimesOf(*lease));
}

}  // namespace finetuned
