#include "tests/bench/subscribers.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "base/time.h"
#include "tests/bench/channel.h"
#include "tests/bench/require.h"

namespace finetuned::bench {
namespace {

constexpr absl::Duration kPatience = absl::Seconds(60);

}  // namespace

class Subscribers::Stream final : public grpc::ClientReadReactor<v1::WatchEventsResponse> {
 public:
  Stream(Subscribers* all, const std::string& token, bool stopped) : all_(*all), stopped_(stopped) {
    context_.AddMetadata("authorization", "Bearer " + token);
  }

  void Start(v1::RunService::Stub& stub, const std::string& run, int64_t after_seq) {
    seq_ = after_seq;
    request_.set_name(run);
    request_.set_after_seq(after_seq);
    stub.async()->WatchEvents(&context_, &request_, this);
    StartRead(&message_);
    StartCall();
  }

  void OnReadDone(bool ok) override {
    if (!ok) return;
    const absl::Time now = RealClock::Get().Now();
    ++all_.messages_;
    int64_t seq = seq_.load(std::memory_order_relaxed);
    for (const v1::RunEvent& event : message_.events()) {
      if (event.seq() != ++seq) ++all_.wrong_;
      if (!all_.recording_) continue;
      MutexLock lock(mutex_);
      delays_.push_back(absl::ToDoubleMilliseconds(now - FromProtoTime(event.event_time())));
    }
    seq_ = seq;
    if (!begun_.HasBeenNotified()) begun_.Notify();
    if (!stopped_) StartRead(&message_);
  }
  void OnDone(const grpc::Status&) override {
    if (!begun_.HasBeenNotified()) begun_.Notify();
    done_.Notify();
  }

  bool WaitForFirst() {
    return begun_.WaitForNotificationWithTimeout(kPatience) && !done_.HasBeenNotified();
  }
  void End() {
    context_.TryCancel();
    // One that is stopped has a read to come before its end.
    if (stopped_) StartRead(&message_);
    done_.WaitForNotification();
  }
  void Take(std::vector<double>& delays) {
    MutexLock lock(mutex_);
    delays.insert(delays.end(), delays_.begin(), delays_.end());
    delays_.clear();
  }
  bool stopped() const { return stopped_; }
  int64_t seq() const { return seq_; }

 private:
  Subscribers& all_;
  const bool stopped_;
  grpc::ClientContext context_;
  v1::WatchEventsRequest request_;
  v1::WatchEventsResponse message_;
  std::atomic<int64_t> seq_ = 0;
  absl::Notification begun_, done_;
  Mutex mutex_;
  std::vector<double> delays_ ABSL_GUARDED_BY(mutex_);
};

std::vector<std::string> Subscribers::MakeTokens(const TestInstallation& installation,
                                                 int streams) {
  std::vector<std::string> tokens;
  while (static_cast<int>(tokens.size()) * kStreamsPerPrincipal < streams) {
    tokens.push_back(
        installation.Token(absl::StrCat("reader-", tokens.size(), "@example.com"), "admin"));
  }
  return tokens;
}

Subscribers::Subscribers(const std::string& address, const std::vector<std::string>& tokens,
                         int connections)
    : tokens_(tokens) {
  for (int i = 0; i < connections; ++i) {
    stubs_.push_back(v1::RunService::NewStub(MakeChannel(address)));
  }
}

Subscribers::~Subscribers() {
  for (const auto& stream : streams_) stream->End();
}

bool Subscribers::Open(const std::string& run, int64_t after_seq, int count, bool stopped) {
  const size_t first = streams_.size();
  // Not all at once: what is measured is how they are, not how they come.
  constexpr size_t kAtOnce = 200;
  bool all = true;
  for (size_t i = first; i < first + static_cast<size_t>(count); ++i) {
    streams_.push_back(std::make_unique<Stream>(this, tokens_[i / kStreamsPerPrincipal], stopped));
    streams_.back()->Start(*stubs_[i % stubs_.size()], run, after_seq);
    if (i >= first + kAtOnce) all = streams_[i - kAtOnce]->WaitForFirst() && all;
  }
  for (size_t i = first; i < streams_.size(); ++i) all = streams_[i]->WaitForFirst() && all;
  return all;
}

std::vector<double> Subscribers::TakeDelays() {
  std::vector<double> delays;
  for (const auto& stream : streams_) stream->Take(delays);
  return delays;
}

bool Subscribers::WaitFor(int64_t seq) {
  const absl::Time end = RealClock::Get().Now() + kPatience;
  for (const auto& stream : streams_) {
    while (!stream->stopped() && stream->seq() < seq) {
      if (RealClock::Get().Now() > end) return false;
      Wait(absl::Milliseconds(5));
    }
  }
  return true;
}

}  // namespace finetuned::bench
