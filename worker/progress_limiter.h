#pragma once

#include <optional>
#include <vector>

#include "absl/time/time.h"
#include "worker/journal.h"

namespace finetuned {

// Lets one TRAIN_UPDATED a second through, always the newest, and none is lost before another kind
// of event: the last one of a stretch comes right before what follows. What is held back is not in
// the journal, so its line is read again after a restart. Time is an argument. Not safe for
// concurrent use.
class ProgressLimiter {
 public:
  static constexpr absl::Duration kInterval = absl::Seconds(1);

  // Takes the next entry; returns what is to be kept now, in order.
  std::vector<Journal::Entry> Offer(Journal::Entry entry, absl::Duration since_boot) {
    std::vector<Journal::Entry> out;
    const bool is_update =
        entry.event.has_value() && entry.event->type() == v1::RunEvent::TRAIN_UPDATED;
    if (is_update) {
      held_ = std::move(entry);
      return Poll(since_boot);
    }
    if (held_.has_value()) out.push_back(*std::move(held_));
    held_.reset();
    out.push_back(std::move(entry));
    return out;
  }

  // What has become due.
  std::vector<Journal::Entry> Poll(absl::Duration since_boot) {
    if (last_.has_value() && since_boot - *last_ < kInterval) return {};
    std::vector<Journal::Entry> out = Flush();
    if (!out.empty()) last_ = since_boot;
    return out;
  }

  // All that is held, due or not: at the end of the attempt.
  std::vector<Journal::Entry> Flush() {
    std::vector<Journal::Entry> out;
    if (held_.has_value()) out.push_back(*std::move(held_));
    held_.reset();
    return out;
  }

 private:
  std::optional<Journal::Entry> held_;
  std::optional<absl::Duration> last_;
};

}  // namespace finetuned
