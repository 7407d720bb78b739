#include <algorithm>

#include "daemon/checker.h"
#include "daemon/event_pages.h"
#include "daemon/filters.h"
#include "daemon/resource_name.h"
#include "daemon/run_service.h"
#include "daemon/run_tails.h"
#include "daemon/run_view.h"
#include "daemon/stream_source.h"
#include "daemon/watch_events.h"

namespace finetuned {
namespace {

class RunSource final : public StreamSource {
 public:
  RunSource(const ServiceCore& core, v1::WatchEventsRequest request)
      : core_(core), request_(std::move(request)), last_sent_(request_.after_seq()) {}
  ~RunSource() override { core_.run_tails->Unfollow(follower_); }

  absl::Status Open(const Identity& caller, std::function<void()> wake) override {
    Checker check;
    if (request_.name().empty()) {
      check.Add("name", "is missing: give a run, or `parent` for all that you see", "BAD_NAME");
    } else {
      check.AddAll(ParseRunName(request_.name(), caller).status());
    }
    check.AddAll(CheckCursor(request_.after_seq(), kAnySeq));
    types_ = ReadEventTypes(request_.types(), &check);
    const bool is_one_run = request_.parent().empty() && request_.experiment().empty() &&
                            request_.user_emails().empty() && request_.cursor().empty();
    check.Require(is_one_run, "name",
                  "cannot be given beside `parent`, `experiment`, `user_emails` or `cursor`",
                  "BAD_FILTER");
    check.Require(!request_.from_now() || request_.after_seq() == 0, "from_now",
                  "cannot be given beside `after_seq`", "BAD_CURSOR");
    if (!check.violations().empty()) return InvalidArgument(check.violations());
    FT_ASSIGN_OR_RETURN(run_id_, FindRun(core_, caller, request_.name()));
    FT_ASSIGN_OR_RETURN(const auto marks, core_.reader->Watch({run_id_}));
    const RunMark mark = marks.at(run_id_);
    FT_RETURN_IF_ERROR(CheckCursor(request_.after_seq(), mark.last_seq));
    stored_ = mark.last_seq;
    if (request_.from_now()) last_sent_ = mark.last_seq;
    ended_ = IsTerminal(mark.state) && last_sent_ == mark.last_seq;
    follower_ = core_.run_tails->Follow(run_id_, std::move(wake));
    return absl::OkStatus();
  }

  absl::Status CheckAccess(const Identity& caller) override {
    return core_.run_tails->CheckAccess(
        run_id_, ViewerOf(caller), core_.clock->SinceBoot(), kViewAge,
        [&] { return FindRun(core_, caller, request_.name()).status(); });
  }

  absl::StatusOr<NextMessage> Next(bool bookmark) override {
    std::vector<EventFrame> frames;
    size_t count = 0;
    bool more = false;
    if (auto newest = core_.run_tails->After(run_id_, last_sent_)) {
      frames = *std::move(newest);
      count = CountForMessage(frames);
      more = count < frames.size();
    } else {
      FT_ASSIGN_OR_RETURN(Past past, ReadPast());
      if (past.frames.empty() && last_sent_ < stored_) return RunEventsDropped(stored_);
      frames = std::move(past.frames);
      count = CountForMessage(frames);
      more = count < frames.size() || past.may_go_on;
    }
    NextMessage next;
    if (count > 0) {
      last_sent_ = frames[count - 1].seq;
      ended_ = EndsRun(frames[count - 1].type);
    }
    if (!types_.empty()) {
      frames.resize(count);
      const auto is_other = [this](const EventFrame& frame) {
        return std::find(types_.begin(), types_.end(), frame.type) == types_.end();
      };
      frames.erase(std::remove_if(frames.begin(), frames.end(), is_other), frames.end());
      count = frames.size();
    }
    // The last message shows how the run ended.
    const bool shows_run = bookmark || ended_;
    next.more = more;
    // That everything has been sent is said once.
    const bool says_so = had_more_ && !more;
    had_more_ = more;
    if (count == 0 && !shows_run && !says_so) return next;
    v1::WatchEventsResponse rest;
    rest.set_bookmark_seq(last_sent_);
    rest.set_caught_up(!more);
    std::string tail = rest.SerializeAsString();
    if (shows_run) {
      FT_ASSIGN_OR_RETURN(const std::string view,
                          core_.run_tails->View(run_id_, last_sent_, core_.clock->SinceBoot(),
                                                kViewAge, [this] { return ReadView(); }));
      tail += view;
    }
    next.bytes = MakeMessage(frames, count, tail);
    next.empty = false;
    next.last = ended_;
    return next;
  }

 private:
  struct Past {
    std::vector<EventFrame> frames;
    // It was not read to its end.
    bool may_go_on = false;
  };

  // From the log: a whole page in one piece where all events are wanted, and otherwise what there
  // is up to where the next page begins.
  absl::StatusOr<Past> ReadPast() const {
    if (types_.empty()) {
      FT_ASSIGN_OR_RETURN(auto page, core_.event_pages->After(run_id_, last_sent_, stored_));
      if (page.has_value()) return Past{{*std::move(page)}, true};
    }
    const auto left = kMaxEventsPerMessage - static_cast<int>(last_sent_ % kMaxEventsPerMessage);
    FT_ASSIGN_OR_RETURN(const std::vector<Event> events,
                        core_.reader->ListEvents(run_id_, last_sent_, left));
    return Past{MakeFrames(events), static_cast<int>(events.size()) == left};
  }

  // As a piece of a response.
  absl::StatusOr<std::string> ReadView() const {
    v1::WatchEventsResponse message;
    FT_ASSIGN_OR_RETURN(*message.mutable_run(), ReadRun(core_, run_id_));
    return message.SerializeAsString();
  }

  const ServiceCore& core_;
  const v1::WatchEventsRequest request_;
  int64_t run_id_ = 0;
  int64_t follower_ = 0;
  int64_t last_sent_;
  // The newest event when the stream began.
  int64_t stored_ = 0;
  // Only these; all where there is none.
  std::vector<EventType> types_;
  bool had_more_ = false;
  // The terminal event was sent.
  bool ended_ = false;
};

}  // namespace

std::unique_ptr<StreamSource> MakeRunSource(const ServiceCore& core,
                                            v1::WatchEventsRequest request) {
  return std::make_unique<RunSource>(core, std::move(request));
}

}  // namespace finetuned
