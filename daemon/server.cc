#include "daemon/server.h"

#include <unistd.h>

#include <algorithm>
#include <vector>

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/logging.h"
#include "base/time.h"
#include "daemon/artifact_service.h"
#include "daemon/daemon_config.h"
#include "daemon/experiment_service.h"
#include "daemon/listeners.h"
#include "daemon/metrics_listener.h"
#include "daemon/model_service.h"
#include "daemon/periodic.h"
#include "daemon/retention.h"
#include "daemon/run_service.h"
#include "daemon/sparing.h"
#include "daemon/worker_messages.h"
#include "daemon/worker_service.h"
#include "daemon/workspace_service.h"
#include "db/migrator.h"
#include "db/quarantine.h"

namespace finetuned {
namespace {

// Between the beginnings of two batches of renewals, which gather meanwhile: a worker has seconds.
constexpr absl::Duration kRenewalInterval = absl::Milliseconds(20);
constexpr int kFileThreads = 4;
// Each with a connection. Of calls that change something and may wait for locks; of workers' calls,
// which wait for nothing; and of those that open sessions, which wait for locks and a filesystem.
constexpr int kChangeThreads = 4;
constexpr int kWorkerThreads = 2;
constexpr int kSessionThreads = 2;
constexpr absl::Duration kReapInterval = absl::Seconds(1);
constexpr absl::Duration kHubPollInterval = absl::Milliseconds(250);
constexpr absl::Duration kReadinessInterval = absl::Seconds(2);
constexpr absl::Duration kGaugeInterval = absl::Seconds(10);
constexpr absl::Duration kCertificateInterval = absl::Seconds(5);
constexpr absl::Duration kHousekeepingInterval = absl::Minutes(1);
constexpr absl::Duration kRetentionInterval = absl::Minutes(5);
// How long a request_id is remembered.
constexpr absl::Duration kRequestIdAge = absl::Hours(24);
std::string WithPort(const std::string& address, int port) {
  return absl::StrCat(address.substr(0, address.rfind(':')), ":", port);
}

std::unique_ptr<Pool> MakePool(const config::v1::DaemonConfig& config, int connections,
                               Metrics* metrics) {
  Pool::Options options;
  options.database_url = config.database_url();
  options.max_connections = connections;
  options.observer = metrics;
  return std::make_unique<Pool>(options);
}

}  // namespace

struct Server::State {
  explicit State(const config::v1::DaemonConfig& config_in)
      : config(config_in),
        times(LeaseTimesOf(config.lease())),
        read_pool(MakePool(config, config.read_connections(), &metrics)),
        // One connection for each batcher and loop, so that heartbeats never wait behind anything
        // else.
        create_pool(MakePool(config, 1, &metrics)),
        lookup_pool(MakePool(config, 1, &metrics)),
        report_pool(MakePool(config, 1, &metrics)),
        renew_pool(MakePool(config, 1, &metrics)),
        complete_pool(MakePool(config, 1, &metrics)),
        dispatch_pool(MakePool(config, 1, &metrics)),
        loop_pool(MakePool(config, 3, &metrics)),
        change_pool(MakePool(config, kChangeThreads, &metrics)),
        worker_pool(MakePool(config, kWorkerThreads, &metrics)),
        session_pool(MakePool(config, kSessionThreads, &metrics)),
        identity(read_pool.get()),
        worker_identity(worker_pool.get()),
        reader(read_pool.get()),
        loop_reader(loop_pool.get()),
        listing(read_pool.get()),
        registry(read_pool.get()),
        edits(change_pool.get()),
        retention(read_pool.get()),
        session_retention(session_pool.get()),
        loop_retention(loop_pool.get()),
        admission(create_pool.get(), QuotaLimitsOf(config)),
        admission_lookups(lookup_pool.get(), QuotaLimitsOf(config)),
        change_admission(change_pool.get(), QuotaLimitsOf(config)),
        loop_admission(loop_pool.get(), QuotaLimitsOf(config)),
        renewals(renew_pool.get(), times.reassign),
        dispatch_leases(dispatch_pool.get(), times.reassign),
        worker_leases(worker_pool.get(), times.reassign),
        session_leases(session_pool.get(), times.reassign),
        loop_quarantine(loop_pool.get(), QuarantinePolicyOf(config)),
        loop_leases(loop_pool.get(), times.reassign),
        reports(report_pool.get(), TransitionOptions()),
        completions(complete_pool.get(), TransitionOptions()),
        changes(change_pool.get(), TransitionOptions()),
        session_transitions(session_pool.get(), TransitionOptions()),
        loop_transitions(loop_pool.get(), TransitionOptions()),
        authenticator(&identity, &RealClock::Get()),
        worker_authenticator(&worker_identity, &RealClock::Get()),
        executor(config.read_connections()),
        change_executor(kChangeThreads),
        worker_executor(kWorkerThreads),
        session_executor(kSessionThreads),
        files(kFileThreads),
        run_tails(&hub, &executor, &reader),
        event_pages(&reader),
        feed(read_pool.get()),
        feed_tail(&hub, &executor, &feed),
        metric_lengths(&reader),
        dispatcher(&dispatch_leases, &RealClock::Get()),
        notifier({config.database_url(), [this](Notifier::Topic topic) { Hear(topic); },
                  [this](bool listening) { metrics.SetListening(listening); }}),
        admitter(&admission, &admission_lookups,
                 [this](const char* kind, size_t size) { metrics.BatchRan(kind, size); }),
        report_batcher(OnePerRun(BatchOptions<ReportItem, ReportResult>("report")),
                       [this](const auto& items) { return reports.Report(items); }),
        renew_batcher(OnePerSession(BatchOptions<RenewalItem, RenewalResult>("renew")),
                      [this](const auto& items) { return renewals.Renew(items); }),
        complete_batcher(OnePerRun(BatchOptions<CompletionItem, CompletionResult>("complete")),
                         [this](const auto& items) { return completions.Complete(items); }),
        run_service(&core),
        experiment_service(&core),
        model_service(&core),
        artifact_service(&core),
        workspace_service(&core),
        worker_service(&worker_core, &session_core),
        hub_loop(
            kHubPollInterval, [this] { hub.Poll(&loop_reader); }, Notifier::kInterval),
        reap_loop(kReapInterval, [this] { Reap(); }),
        readiness_loop(kReadinessInterval, [this] { CheckReadiness(); }),
        gauge_loop(kGaugeInterval, [this] { UpdateGauges(); }),
        housekeeping_loop(kHousekeepingInterval, [this] { KeepHouse(); }),
        certificate_loop(kCertificateInterval, [this] { RefreshCertificates(); }),
        retention_loop(kRetentionInterval, [this] { Retain(); }) {}

  template <typename Item, typename Result>
  typename Batcher<Item, Result>::Options BatchOptions(const std::string& kind) {
    typename Batcher<Item, Result>::Options options;
    options.name = kind;
    options.observe_size = [this, kind](size_t size) { metrics.BatchRan(kind, size); };
    return options;
  }

  TransitionStore::Options TransitionOptions() const {
    return {MakeFailureEncoder(), RetryLimitsOf(config), QuarantinePolicyOf(config),
            QuotaLimitsOf(config).holding};
  }

  // What a worker sends again while its first try waits comes after it: a statement takes each run
  // once.
  template <typename Options>
  static Options OnePerRun(Options options) {
    options.key = [](const auto& item) { return item.run_id; };
    return options;
  }

  // A worker that takes a lease renews anew while its call before is still held: each has leases of
  // its own.
  static Batcher<RenewalItem, RenewalResult>::Options OnePerSession(
      Batcher<RenewalItem, RenewalResult>::Options options) {
    options.key = [](const RenewalItem& item) { return item.session; };
    options.interval = kRenewalInterval;
    return options;
  }

  absl::Status Build();
  absl::Status StartListening();
  void StartLoops();
  void Stop();
  // Another daemon has committed something.
  void Hear(Notifier::Topic topic);
  void Reap();
  void CheckReadiness();
  void UpdateGauges();
  void KeepHouse();
  void Retain();
  void RefreshCertificates();
  void SetServing(bool serving);

  const config::v1::DaemonConfig config;
  const LeaseTimes times;
  Metrics metrics;
  std::unique_ptr<Pool> read_pool, create_pool, lookup_pool, report_pool, renew_pool, complete_pool,
      dispatch_pool, loop_pool, change_pool, worker_pool, session_pool;
  IdentityStore identity, worker_identity;
  Reader reader, loop_reader;
  Listing listing;
  Registry registry;
  EditStore edits;
  RetentionStore retention, session_retention, loop_retention;
  AdmissionStore admission, admission_lookups, change_admission, loop_admission;
  LeaseStore renewals, dispatch_leases, worker_leases, session_leases;
  QuarantineStore loop_quarantine;
  LeaseStore loop_leases;
  TransitionStore reports, completions, changes, session_transitions, loop_transitions;
  Catalogue catalogue;
  Authenticator authenticator, worker_authenticator;
  Executor executor, change_executor, worker_executor, session_executor, files;
  RunHub hub;
  RunTails run_tails;
  EventPages event_pages;
  Feed feed;
  FeedTail feed_tail;
  MetricLengths metric_lengths;
  Dispatcher dispatcher;
  Notifier notifier;
  // The same but for who waits where.
  ServiceCore core, worker_core, session_core;
  Admitter admitter;
  Batcher<ReportItem, ReportResult> report_batcher;
  Batcher<RenewalItem, RenewalResult> renew_batcher;
  Batcher<CompletionItem, CompletionResult> complete_batcher;
  RunService run_service;
  ExperimentService experiment_service;
  ModelService model_service;
  ArtifactService artifact_service;
  WorkspaceService workspace_service;
  WorkerService worker_service;
  std::unique_ptr<CertificateStore> certificates;
  std::unique_ptr<MetricsListener> metrics_listener;
  std::unique_ptr<grpc::Server> user_server, worker_server;
  int user_port = 0, worker_port = 0;
  // Of the loop of gauges, and of that of housekeeping.
  Sparing counting{&RealClock::Get()}, recounting{&RealClock::Get()}, releasing{&RealClock::Get()};
  // Last, so that they end first.
  Periodic hub_loop, reap_loop, readiness_loop, gauge_loop, housekeeping_loop, certificate_loop,
      retention_loop;
  bool stopped = false;
};

absl::Status Server::State::Build() {
  FT_RETURN_IF_ERROR(CheckPermissions(
      {v1::GetRunRequest::descriptor()->file()->FindServiceByName("RunService"),
       v1::Experiment::descriptor()->file()->FindServiceByName("ExperimentService"),
       v1::Model::descriptor()->file()->FindServiceByName("ModelService"),
       v1::Artifact::descriptor()->file()->FindServiceByName("ArtifactService"),
       v1::Workspace::descriptor()->file()->FindServiceByName("WorkspaceService"),
       v1::Lease::descriptor()->file()->FindServiceByName("WorkerService")}));
  // What only a person can mend is said first, also while Postgres is away.
  if (config.has_tls()) {
    FT_ASSIGN_OR_RETURN(
        certificates, CertificateStore::Open("tls", FilesOf(config.tls()), RealClock::Get().Now()));
  }
  FT_ASSIGN_OR_RETURN(const SchemaState schema, ReadSchemaState(config.database_url()));
  FT_RETURN_IF_ERROR(CheckSchema(schema));
  FT_ASSIGN_OR_RETURN(catalogue,
                      Catalogue::Read({config.model_roots().begin(), config.model_roots().end()}));
  FT_RETURN_IF_ERROR(identity.EnsureEventPartitions());
  FT_RETURN_IF_ERROR(feed.RaiseBase());
  core.call = {&authenticator, &executor, &metrics, &RealClock::Get()};
  core.changes = core.call;
  core.changes.executor = &change_executor;
  core.files = &files;
  core.clock = &RealClock::Get();
  core.metrics = &metrics;
  core.hub = &hub;
  core.run_tails = &run_tails;
  core.event_pages = &event_pages;
  core.feed_tail = &feed_tail;
  core.metric_lengths = &metric_lengths;
  core.feed = &feed;
  core.dispatcher = &dispatcher;
  core.notifier = &notifier;
  core.leases = &session_leases;
  core.transitions = &changes;
  core.reader = &reader;
  core.listing = &listing;
  core.registry = &registry;
  core.edits = &edits;
  core.retention = &retention;
  core.admission = &change_admission;
  core.admitter = &admitter;
  core.report_batcher = &report_batcher;
  core.renew_batcher = &renew_batcher;
  core.complete_batcher = &complete_batcher;
  core.run_policy.catalogue = &catalogue;
  core.run_policy.data_roots = {config.data_roots().begin(), config.data_roots().end()};
  core.run_policy.artifact_root = config.artifact_root();
  core.run_policy.default_compute = config.default_compute();
  core.lease_times = times;
  core.artifact_root = config.artifact_root();
  core.active_runs_limit = config.active_runs_limit();
  core.check_worker_names = config.tls().check_worker_names();
  core.run_policy.hub = config.hub();
  FT_ASSIGN_OR_RETURN(core.page_token_key, identity.PageTokenKey());
  worker_core = core;
  worker_core.call.authenticator = &worker_authenticator;
  worker_core.call.executor = &worker_executor;
  worker_core.leases = &worker_leases;
  session_core = worker_core;
  session_core.call.executor = &session_executor;
  session_core.leases = &session_leases;
  session_core.transitions = &session_transitions;
  session_core.retention = &session_retention;
  return absl::OkStatus();
}

absl::Status Server::State::StartListening() {
  const CertificateStore* tls = certificates.get();
  FT_ASSIGN_OR_RETURN(
      metrics_listener,
      MetricsListener::Start(config.metrics_listen(), config.tls().plain_metrics() ? nullptr : tls,
                             metrics.registry()));
  FT_ASSIGN_OR_RETURN(worker_server, Listen({"worker_listen",
                                             config.worker_listen(),
                                             tls,
                                             !config.tls().client_ca_file().empty(),
                                             config.reflection(),
                                             {&worker_service}},
                                            &worker_port));
  FT_ASSIGN_OR_RETURN(user_server, Listen({"listen",
                                           config.listen(),
                                           tls,
                                           /*ask_clients=*/false,
                                           config.reflection(),
                                           {&run_service, &experiment_service, &model_service,
                                            &artifact_service, &workspace_service}},
                                          &user_port));
  return absl::OkStatus();
}

void Server::State::StartLoops() {
  executor.Start();
  change_executor.Start();
  worker_executor.Start();
  session_executor.Start();
  files.Start();
  admitter.Start();
  report_batcher.Start();
  renew_batcher.Start();
  complete_batcher.Start();
  dispatcher.Start();
  notifier.Start();
  hub_loop.Start();
  reap_loop.Start();
  gauge_loop.Start();
  housekeeping_loop.Start();
  retention_loop.Start();
  if (certificates != nullptr) certificate_loop.Start();
}

void Server::State::SetServing(bool serving) {
  if (user_server != nullptr) user_server->GetHealthCheckService()->SetServingStatus(serving);
  if (worker_server != nullptr) worker_server->GetHealthCheckService()->SetServingStatus(serving);
}

void Server::State::Stop() {
  if (stopped) return;
  stopped = true;
  Log(LogLevel::kInfo, "stopping");
  readiness_loop.Stop();
  SetServing(false);
  dispatcher.Stop();
  hub.Close();
  run_service.EndStreams();
  artifact_service.EndStreams();
  const auto deadline =
      std::chrono::system_clock::now() +
      absl::ToChronoMilliseconds(FromProtoDuration(config.shutdown_grace_duration()));
  if (worker_server != nullptr) worker_server->Shutdown(deadline);
  if (user_server != nullptr) user_server->Shutdown(deadline);
  notifier.Stop();
  hub_loop.Stop();
  reap_loop.Stop();
  gauge_loop.Stop();
  housekeeping_loop.Stop();
  retention_loop.Stop();
  certificate_loop.Stop();
  admitter.Stop();
  report_batcher.Stop();
  renew_batcher.Stop();
  complete_batcher.Stop();
  executor.Stop();
  change_executor.Stop();
  worker_executor.Stop();
  session_executor.Stop();
  files.Stop();
  user_server.reset();
  worker_server.reset();
  metrics_listener.reset();
  Log(LogLevel::kInfo, "stopped");
}

void Server::State::Hear(Notifier::Topic topic) {
  if (topic == Notifier::kQueue) {
    dispatcher.Wake();
  } else {
    hub_loop.Trigger();
  }
}

// Expired leases are taken away one by one, each decided again under its row's lock; any number of
// daemons may do it.
void Server::State::Reap() {
  const auto expired = loop_leases.FindExpired(kReapInterval);
  if (!expired.ok()) return;
  for (const AttemptId& attempt : *expired) {
    const auto lost = loop_transitions.Lose(
        attempt.run_id, {attempt.epoch, /*by_expiry=*/true, /*except_session=*/0,
                         "Its worker was not heard of for too long."});
    if (!lost.ok() || !lost->has_value()) continue;
    metrics.LeaseLost("expired");
    Log(LogLevel::kWarning, "lease expired",
        {{"run_id", attempt.run_id}, {"epoch", attempt.epoch}});
    core.RunMoved(attempt.run_id, (*lost)->from, (*lost)->to, true);
  }
  const auto released = loop_admission.ReleaseRuns();
  if (released.ok() && *released > 0) core.QueueChanged();
  const auto overdue = loop_leases.FindOverdue();
  if (!overdue.ok()) return;
  for (const int64_t run_id : *overdue) {
    const auto told = loop_transitions.StopForDeadline(run_id);
    if (told.ok() && told->has_value()) core.RunMoved(run_id, (*told)->from, (*told)->to, true);
  }
  const auto overlong = loop_leases.FindOverlongWaits();
  if (!overlong.ok()) return;
  for (const int64_t run_id : *overlong) {
    const auto failed = loop_transitions.FailOverlongWait(run_id);
    if (failed.ok() && failed->has_value()) {
      core.RunMoved(run_id, (*failed)->from, (*failed)->to, false);
    }
  }
  const absl::Status judged = loop_quarantine.JudgeQuarantined();
  if (!judged.ok()) Log(LogLevel::kWarning, "workers were not judged", {{"error", judged}});
}

void Server::State::CheckReadiness() {
  const bool writable = loop_reader.CheckWritable().ok();
  metrics.SetDatabaseWritable(writable);
  SetServing(writable);
}

void Server::State::UpdateGauges() {
  counting.Do([this] {
    const auto counts = loop_reader.CountActiveRuns();
    if (counts.ok()) metrics.SetActiveRuns(*counts);
  });
  const auto quarantined = loop_reader.CountQuarantined();
  if (quarantined.ok()) metrics.SetQuarantinedWorkers(*quarantined);
}

void Server::State::KeepHouse() {
  recounting.Do([this] {
    const auto wrong = loop_admission.CountWrongCounters();
    if (wrong.ok()) metrics.SetMiscountedOwners(*wrong);
  });
  releasing.Do([this] {
    const auto stranded = loop_admission.ReleaseStrandedRuns();
    if (stranded.ok() && *stranded > 0) core.QueueChanged();
  });
  IdentityStore keeper(loop_pool.get());
  for (const absl::Status& status :
       {loop_admission.DeleteOldRequests(kRequestIdAge), keeper.EnsureEventPartitions()}) {
    if (!status.ok()) Log(LogLevel::kWarning, "housekeeping failed", {{"error", status}});
  }
}

void Server::State::Retain() {
  // One at a time: events cannot be written meanwhile.
  const auto retired = loop_retention.RetireEventPartition();
  if (!retired.ok()) {
    Log(LogLevel::kWarning, "events past their retention are dropped later",
        {{"error", retired.status()}});
  } else if (*retired) {
    Log(LogLevel::kInfo, "a partition of events was dropped: all of it was past its retention");
  }
  for (const auto& [kind, what] :
       {std::pair(RetainedFiles::kLogs, "logs"), std::pair(RetainedFiles::kMetrics, "metrics")}) {
    const auto overdue = loop_retention.Overdue(kind);
    if (overdue.ok()) metrics.SetRetentionOverdue(what, *overdue);
  }
}

// What is broken is said once and changes nothing: the pair in use goes on.
void Server::State::RefreshCertificates() {
  const auto renewed = certificates->Refresh(RealClock::Get().Now());
  metrics.SetCertificateExpireTime(certificates->expire_time());
  if (!renewed.ok()) {
    Log(LogLevel::kError, "the new certificates are not used", {{"error", renewed.status()}});
  } else if (*renewed) {
    Log(LogLevel::kInfo, "new certificates are in use");
  }
}

Server::Server(std::unique_ptr<State> state) : state_(std::move(state)) {}
Server::~Server() { Stop(); }
void Server::Stop() { state_->Stop(); }

absl::StatusOr<std::unique_ptr<Server>> Server::Start(const config::v1::DaemonConfig& config) {
  grpc::EnableDefaultHealthCheckService(true);
  // Keeps the linker from dropping the library; which servers have it is said in Listen.
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  auto state = std::make_unique<State>(config);
  FT_RETURN_IF_ERROR(state->Build());
  state->StartLoops();
  if (const absl::Status status = state->StartListening(); !status.ok()) {
    state->Stop();
    return status;
  }
  // It sets what the servers, which are there now, say of themselves.
  state->readiness_loop.Start();
  std::unique_ptr<Server> server(new Server(std::move(state)));
  if (!config.ready_file().empty()) {
    FT_RETURN_IF_ERROR(WriteFileAtomically(
        config.ready_file(),
        absl::StrCat("{\"listen\":\"", server->listen(), "\",\"worker_listen\":\"",
                     server->worker_listen(), "\",\"metrics_listen\":\"", server->metrics_listen(),
                     "\",\"pid\":", getpid(), "}\n")));
  }
  Log(LogLevel::kInfo, "serving",
      {{"listen", server->listen()},
       {"worker_listen", server->worker_listen()},
       {"metrics_listen", server->metrics_listen()}});
  return server;
}

std::string Server::listen() const { return WithPort(state_->config.listen(), state_->user_port); }
std::string Server::worker_listen() const {
  return WithPort(state_->config.worker_listen(), state_->worker_port);
}
std::string Server::metrics_listen() const {
  return WithPort(state_->config.metrics_listen(), state_->metrics_listener->port());
}

}  // namespace finetuned
