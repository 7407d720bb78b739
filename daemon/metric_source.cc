#include <algorithm>
#include <atomic>
#include <map>
#include <memory>
#include <set>

#include "absl/strings/str_cat.h"
#include "daemon/artifact_service.h"
#include "daemon/canonical.h"
#include "daemon/checker.h"
#include "daemon/downsample.h"
#include "daemon/metric_lengths.h"
#include "daemon/metric_reader.h"
#include "daemon/page_token.h"
#include "daemon/resource_name.h"
#include "daemon/run_hub.h"
#include "daemon/run_service.h"
#include "daemon/stream_source.h"

namespace finetuned {
namespace {

constexpr int kMaxNames = 100;
constexpr int kMaxPoints = 5000;
constexpr size_t kMaxThinnedSeries = 100;
// Kept in memory for one stream at most.
constexpr size_t kMaxThinnedPoints = 100'000;
// Read at most between two looks at whether the stream goes on.
constexpr int kPiecesAtOnce = 16;

class MetricSource final : public StreamSource {
 public:
  MetricSource(const ServiceCore& core, v1::ReadMetricsRequest request)
      : core_(core), request_(std::move(request)) {}
  ~MetricSource() override {
    if (subscription_ != 0) core_.hub->Unsubscribe(subscription_);
  }

  absl::Status Open(const Identity& caller, std::function<void()> wake) override {
    FT_RETURN_IF_ERROR(ReadRequest(caller));
    FT_ASSIGN_OR_RETURN(run_id_, FindRun(core_, caller, request_.name()));
    FT_ASSIGN_OR_RETURN(const v1::Run run, ReadRun(core_, run_id_));
    v1::ReadMetricsRequest canonical = request_;
    canonical.clear_name();
    canonical.clear_max_points();
    canonical.clear_follow();
    canonical.clear_cursor();
    scope_ =
        absl::StrCat("metrics/", caller.owner_id, "/", run_id_, "/", CanonicalBytes(canonical));
    MetricPlace place;
    if (!request_.cursor().empty()) {
      const auto at = ReadPageToken(core_.page_token_key, scope_, request_.cursor(), 3);
      if (!at.ok()) {
        return InvalidArgument({{"cursor",
                                 "is not from a stream of yours of this run with these names and "
                                 "steps: give those it came with, or no cursor",
                                 "BAD_CURSOR"}});
      }
      place = MetricPlace{(*at)[0], (*at)[1], (*at)[2]};
    }
    reader_.emplace(core_.artifact_root, run.artifact_path(), place);
    if (request_.follow()) {
      subscription_ =
          core_.hub->Subscribe({run_id_}, RunHub::Change::kEvents,
                               [woken = woken_, clock = core_.clock, wake = std::move(wake)] {
                                 woken->store(absl::ToInt64Nanoseconds(clock->SinceBoot()));
                                 wake();
                               });
    }
    return absl::OkStatus();
  }

  absl::Status CheckAccess(const Identity& caller) override {
    return FindRun(core_, caller, request_.name()).status();
  }

  absl::Duration pace() const override { return MetricLengths::kAge; }

  absl::StatusOr<NextMessage> Next(bool bookmark) override {
    if (thins_out()) {
      if (!looked_) FT_RETURN_IF_ERROR(Look());
      return NextThinned(bookmark);
    }
    if (!looked_ || caught_up_) FT_RETURN_IF_ERROR(Look());
    v1::ReadMetricsResponse response;
    std::map<std::string, v1::MetricSeries*> series;
    const auto read = reader_->Read([&](const std::string& name, const MetricPoint& point) {
      if (!IsWanted(name, point.step)) return;
      v1::MetricSeries*& one = series[name];
      if (one == nullptr) {
        one = response.add_series();
        one->set_name(name);
      }
      AddPoint(point, one);
    });
    FT_RETURN_IF_ERROR(Readable(read.status()));
    caught_up_ = !*read;
    return Message(response, bookmark);
  }

 private:
  bool thins_out() const { return request_.max_points() > 0 && !past_sent_; }

  absl::Status ReadRequest(const Identity& caller) {
    Checker check;
    check.AddAll(ParseRunName(request_.name(), caller).status());
    check.Require(request_.metrics_size() <= kMaxNames, "metrics",
                  absl::StrCat("has more than ", kMaxNames, " names"), "TOO_MANY");
    for (const std::string& name : request_.metrics()) {
      check.Require(
          !name.empty() && name.size() <= kMaxSeriesNameBytes, "metrics",
          absl::StrCat("has a name that is empty or longer than ", kMaxSeriesNameBytes, " bytes"),
          "BAD_NAME");
    }
    const int points = request_.max_points();
    check.Require(points == 0 || (points >= int{Downsampler::kLeastPoints} && points <= kMaxPoints),
                  "max_points",
                  absl::StrCat("is neither 0, for all, nor between ", Downsampler::kLeastPoints,
                               " and ", kMaxPoints),
                  "BAD_SIZE");
    check.Require(request_.min_step() >= 0, "min_step", "is negative", "BAD_STEP");
    check.Require(request_.max_step() >= 0, "max_step", "is negative", "BAD_STEP");
    check.Require(request_.max_step() == 0 || request_.max_step() >= request_.min_step(),
                  "max_step", "is less than min_step", "BAD_STEP");
    if (!check.violations().empty()) return InvalidArgument(check.violations());
    names_ = {request_.metrics().begin(), request_.metrics().end()};
    return absl::OkStatus();
  }

  // Sees how much there is by now.
  absl::Status Look() {
    const absl::Duration now = core_.clock->SinceBoot();
    // What was reported before this stream was opened is in its first message.
    FT_ASSIGN_OR_RETURN(const MetricLengths::Answer answer,
                        looked_ ? core_.metric_lengths->GetRecent(run_id_, now)
                                : core_.metric_lengths->GetNewest(run_id_, now));
    FT_RETURN_IF_ERROR(Readable(reader_->Update(answer.files)));
    ended_ = answer.files.ended;
    outdated_ = answer.time <= absl::Nanoseconds(woken_->load());
    looked_ = true;
    return absl::OkStatus();
  }

  static absl::Status Readable(const absl::Status& status) {
    return status.ok() ? status : ArtifactError(status, {"", "metrics"});
  }

  bool IsWanted(const std::string& name, int64_t step) const {
    return (names_.empty() || names_.count(name) != 0) && step >= request_.min_step() &&
           (request_.max_step() == 0 || step <= request_.max_step());
  }

  static void AddPoint(const MetricPoint& point, v1::MetricSeries* series) {
    series->add_steps(point.step);
    series->add_values(point.value);
    series->add_times_millis(point.time_millis);
  }

  // Reads on, and sends what is left of it all at the end.
  absl::StatusOr<NextMessage> NextThinned(bool bookmark) {
    NextMessage next;
    next.more = true;
    bool too_many = false;
    for (int piece = 0; piece < kPiecesAtOnce && !caught_up_; ++piece) {
      const auto read = reader_->Read([&](const std::string& name, const MetricPoint& point) {
        if (too_many || !IsWanted(name, point.step)) return;
        const auto found = thinned_.try_emplace(name, PointsOfEach()).first;
        too_many = thinned_.size() > kMaxThinnedSeries;
        found->second.Add(point);
      });
      FT_RETURN_IF_ERROR(Readable(read.status()));
      if (too_many) {
        return InvalidArgument({{"metrics",
                                 absl::StrCat("is empty, and the run has more than ",
                                              kMaxThinnedSeries, " series: name those you want"),
                                 "TOO_MANY"}});
      }
      caught_up_ = !*read;
    }
    // Without a cursor nothing was sent that it could take back.
    if (request_.cursor().empty()) reader_->TakeStepBack();
    v1::ReadMetricsResponse response;
    // It may take long to read; that it lives is said meanwhile.
    if (!caught_up_) return bookmark ? Message(response, /*bookmark=*/true) : next;
    // A series a message: none is too large.
    if (!thinned_.empty()) {
      v1::MetricSeries* series = response.add_series();
      series->set_name(thinned_.begin()->first);
      for (const MetricPoint& point : thinned_.begin()->second.Points()) AddPoint(point, series);
      thinned_.erase(thinned_.begin());
    }
    past_sent_ = thinned_.empty();
    return Message(response, /*bookmark=*/true);
  }

  // However many series there are, so many points in all.
  size_t PointsOfEach() const {
    const size_t series = names_.empty() ? kMaxThinnedSeries : names_.size();
    return std::min<size_t>(request_.max_points(), kMaxThinnedPoints / series);
  }

  absl::StatusOr<NextMessage> Message(v1::ReadMetricsResponse& response, bool bookmark) {
    NextMessage next;
    const bool all = caught_up_ && !thins_out();
    next.more = !all;
    next.again = request_.follow() && !ended_ && outdated_;
    next.last = all && (ended_ || !request_.follow());
    // That everything has been sent is said once.
    const bool says_so = all && !said_caught_up_;
    if (says_so && reader_->absent()) {
      FT_RETURN_IF_ERROR(CheckRetention(core_, RetainedFiles::kMetrics, run_id_));
    }
    said_caught_up_ = all;
    if (response.series_size() == 0 && !bookmark && !next.last && !says_so) return next;
    const MetricPlace& place = reader_->place();
    response.set_attempt(place.epoch);
    if (const auto step = reader_->TakeStepBack()) response.set_went_back_to_step(*step);
    if (!thins_out()) {
      response.set_cursor(
          MakePageToken(core_.page_token_key, scope_, {place.epoch, place.bytes, place.reset}));
    }
    response.set_caught_up(all);
    response.set_incomplete(reader_->incomplete());
    bool own_buffer;
    grpc::SerializationTraits<v1::ReadMetricsResponse>::Serialize(response, &next.bytes,
                                                                  &own_buffer);
    next.empty = false;
    return next;
  }

  const ServiceCore& core_;
  const v1::ReadMetricsRequest request_;
  std::set<std::string> names_;
  // What a cursor is good for.
  std::string scope_;
  int64_t run_id_ = 0;
  int64_t subscription_ = 0;
  // When the run was last seen to change, in nanoseconds since the host's start. Shared with the
  // callback, which may outlive this.
  const std::shared_ptr<std::atomic<int64_t>> woken_ = std::make_shared<std::atomic<int64_t>>(-1);
  // It has changed since the lengths were read.
  bool outdated_ = false;
  std::optional<MetricReader> reader_;
  // While the past is thinned out.
  std::map<std::string, Downsampler> thinned_;
  bool past_sent_ = false;
  bool looked_ = false;
  bool ended_ = false;
  bool caught_up_ = false;
  bool said_caught_up_ = false;
};

}  // namespace

std::unique_ptr<StreamSource> MakeMetricSource(const ServiceCore& core,
                                               v1::ReadMetricsRequest request) {
  return std::make_unique<MetricSource>(core, std::move(request));
}

}  // namespace finetuned
