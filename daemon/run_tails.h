#pragma once

#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <tuple>
#include <vector>

#include "base/mutex.h"
#include "daemon/event_frame.h"
#include "daemon/executor.h"
#include "daemon/run_hub.h"
#include "db/reads.h"

namespace finetuned {

// The newest events of the runs that somebody follows. They are read from Postgres once for all who
// follow them, many runs in one statement, and serialised once. What is older than a tail keeps is
// read from the log by whoever wants it. Safe for concurrent use.
class RunTails {
 public:
  // What a tail keeps at most; a stream that is further behind reads the log.
  static constexpr size_t kKeptEvents = 512;
  static constexpr size_t kKeptBytes = 256 << 10;

  // All must outlive this.
  RunTails(RunHub* hub, Executor* executor, Reader* reader)
      : hub_(*hub), executor_(*executor), reader_(*reader) {}

  // Calls back when there is something new of the run, on a thread that is not to be held up. After
  // Unfollow returns the callback may still be running once.
  int64_t Follow(int64_t run_id, std::function<void()> callback);
  void Unfollow(int64_t follower);

  // The events after this number that the tail has; nothing where it does not go back so far.
  std::optional<std::vector<EventFrame>> After(int64_t run_id, int64_t seq) const;

  // Whether this viewer may still follow the run: `check` is called where nobody with the same eyes
  // was allowed to within `age`.
  absl::Status CheckAccess(int64_t run_id, const Viewer& viewer, absl::Duration now,
                           absl::Duration age, const std::function<absl::Status()>& check);

  // Serialised, how a run that is followed stands, after the event of this number or later: `read`
  // is called where what is known is older than that, than `age` or than the newest event.
  absl::StatusOr<std::string> View(int64_t run_id, int64_t seq, absl::Duration now,
                                   absl::Duration age,
                                   const std::function<absl::StatusOr<std::string>()>& read);

 private:
  struct Tail {
    int64_t subscription = 0;
    std::map<int64_t, std::function<void()>> followers;
    // Everything after this number is in `frames`; nothing before the first look.
    std::optional<int64_t> begin;
    std::deque<EventFrame> frames;
    size_t bytes = 0;
    // When viewers were last allowed to follow: workspace, owner, and whether they see all of it.
    std::map<std::tuple<int64_t, int64_t, bool>, absl::Duration> allowed;
    std::string view;
    int64_t view_seq = -1;
    absl::Duration view_time;

    int64_t end() const { return frames.empty() ? begin.value_or(0) : frames.back().seq; }
  };

  // Has the run read soon.
  void Look(int64_t run_id);
  // Reads what is new of all runs that are to be looked at, until there is none.
  void Read();
  // Appends what was read after `after`, and returns whom to tell.
  std::vector<std::function<void()>> Append(int64_t run_id, int64_t after,
                                            const std::vector<Event>& events);

  RunHub& hub_;
  Executor& executor_;
  Reader& reader_;

  mutable Mutex mutex_;
  int64_t next_ ABSL_GUARDED_BY(mutex_) = 1;
  // Of each follower.
  std::map<int64_t, int64_t> runs_ ABSL_GUARDED_BY(mutex_);
  std::map<int64_t, Tail> tails_ ABSL_GUARDED_BY(mutex_);
  std::set<int64_t> to_read_ ABSL_GUARDED_BY(mutex_);
  bool reading_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace finetuned
