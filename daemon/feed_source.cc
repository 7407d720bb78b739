#include "absl/strings/str_cat.h"
#include "daemon/canonical.h"
#include "daemon/checker.h"
#include "daemon/feed_tail.h"
#include "daemon/filters.h"
#include "daemon/page_token.h"
#include "daemon/resource_name.h"
#include "daemon/run_view.h"
#include "daemon/stream_source.h"
#include "daemon/watch_events.h"

namespace finetuned {
namespace {

class FeedSource final : public StreamSource {
 public:
  FeedSource(const ServiceCore& core, v1::WatchEventsRequest request)
      : core_(core), request_(std::move(request)) {}
  ~FeedSource() override { core_.feed_tail->Unfollow(follower_); }

  absl::Status Open(const Identity& caller, std::function<void()> wake) override {
    FT_RETURN_IF_ERROR(ReadRequest(caller));
    FT_RETURN_IF_ERROR(ReadPlace());
    follower_ = core_.feed_tail->Follow(std::move(wake));
    return absl::OkStatus();
  }

  // From the next message on it sees what its caller sees by then.
  absl::Status CheckAccess(const Identity& caller) override {
    filter_.viewer = ViewerOf(caller);
    return absl::OkStatus();
  }

  absl::StatusOr<NextMessage> Next(bool bookmark) override {
    FeedTail::Piece piece;
    if (auto newest = core_.feed_tail->After(place_, filter_)) {
      piece = *std::move(newest);
    } else {
      FT_ASSIGN_OR_RETURN(piece, ReadLog());
    }
    place_ = piece.end;
    NextMessage next;
    next.more = piece.more;
    // That everything has been sent is said once.
    const bool says_so = had_more_ && !piece.more;
    had_more_ = piece.more;
    if (piece.frames.empty() && !bookmark && !piece.more && !says_so) return next;
    v1::WatchEventsResponse rest;
    rest.set_caught_up(!piece.more);
    rest.set_cursor(CursorOf(place_));
    next.bytes = MakeMessage(piece.frames, piece.frames.size(), rest.SerializeAsString());
    next.empty = false;
    return next;
  }

 private:
  absl::Status ReadRequest(const Identity& caller) {
    Checker check;
    const absl::Status parent = CheckParent(request_.parent(), caller);
    check.AddAll(parent);
    filter_.types = ReadEventTypes(request_.types(), &check);
    CheckEmails(request_.user_emails(), &check);
    filter_.experiment = ReadExperiment(request_.experiment(), caller, &check);
    check.Require(request_.after_seq() == 0, "after_seq", "is of one run: give `cursor`",
                  "BAD_CURSOR");
    check.Require(!request_.from_now() || request_.cursor().empty(), "from_now",
                  "cannot be given beside `cursor`", "BAD_CURSOR");
    if (!check.violations().empty()) return InvalidArgument(check.violations());
    FT_RETURN_IF_ERROR(parent);
    filter_.viewer = ViewerOf(caller);
    filter_.user_emails = {request_.user_emails().begin(), request_.user_emails().end()};
    v1::WatchEventsRequest canonical = request_;
    canonical.clear_cursor();
    canonical.clear_from_now();
    scope_ = absl::StrCat("feed/", caller.workspace_id, "/", caller.owner_id, "/",
                          CanonicalBytes(canonical));
    return absl::OkStatus();
  }

  // Where to begin.
  absl::Status ReadPlace() {
    if (request_.cursor().empty() && !request_.from_now()) return absl::OkStatus();
    FT_ASSIGN_OR_RETURN(const FeedEnd end, core_.feed->End());
    if (request_.from_now()) {
      place_ = end.place;
      return absl::OkStatus();
    }
    auto at = ReadPageToken(core_.page_token_key, scope_, request_.cursor(), 3);
    if (!at.ok()) at = ReadPageToken(core_.page_token_key, scope_, request_.cursor(), 4);
    if (!at.ok()) {
      return InvalidArgument({{"cursor",
                               "is not from a stream of yours with these filters: give those it "
                               "came with, or no cursor",
                               "BAD_CURSOR"}});
    }
    place_ = {(*at)[0], (*at)[1], (*at)[2]};
    known_dropped_ = at->size() == 4 ? at->back() : 0;
    // Cursors of the version before may stand at the horizon, behind the last event.
    if (place_.position > end.horizon) {
      return MakeError(absl::StatusCode::kOutOfRange, "CURSOR_AHEAD",
                       "cursor: is beyond everything that is here");
    }
    return absl::OkStatus();
  }

  std::string CursorOf(const FeedPlace& place) const {
    std::vector<int64_t> at = {place.position, place.run_id, place.seq};
    // Needed only where something may be missing.
    const int64_t dropped = known_dropped_.value_or(0);
    if (place.position <= dropped) at.push_back(dropped);
    return MakePageToken(core_.page_token_key, scope_, at);
  }

  // Nobody is led past what was dropped without being told.
  absl::Status CheckDropped(int64_t dropped) {
    if (!known_dropped_.has_value()) known_dropped_ = dropped;
    if (place_.position > dropped || *known_dropped_ >= dropped) return absl::OkStatus();
    known_dropped_ = dropped;
    return CursorExpired("cursor: events behind it are past their retention and were dropped",
                         "earliest_cursor", CursorOf(place_));
  }

  absl::StatusOr<FeedTail::Piece> ReadLog() {
    FT_ASSIGN_OR_RETURN(const FeedPage page,
                        core_.feed->Read(place_, &filter_, kMaxEventsPerMessage));
    FT_RETURN_IF_ERROR(CheckDropped(page.dropped));
    FeedTail::Piece piece{{}, page.end, page.more};
    for (const FeedEntry& entry : page.entries) {
      piece.frames.push_back(MakeFrame(entry.event, RunName(entry.workspace, entry.run_name)));
    }
    const size_t count = CountForMessage(piece.frames);
    if (count < piece.frames.size()) {
      piece.frames.resize(count);
      piece.end = page.entries[count - 1].place;
      piece.more = true;
    }
    return piece;
  }

  const ServiceCore& core_;
  const v1::WatchEventsRequest request_;
  FeedFilter filter_;
  // What a cursor is good for.
  std::string scope_;
  int64_t follower_ = 0;
  FeedPlace place_;
  // Up to where whoever reads knows that events were dropped; nothing before the first look of who
  // begins at the beginning, and reads what there is.
  std::optional<int64_t> known_dropped_;
  bool had_more_ = false;
};

}  // namespace

std::unique_ptr<StreamSource> MakeFeedSource(const ServiceCore& core,
                                             v1::WatchEventsRequest request) {
  return std::make_unique<FeedSource>(core, std::move(request));
}

}  // namespace finetuned
