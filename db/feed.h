#pragma once

#include <cstdint>
#include <string>
#include <tuple>
#include <vector>

#include "absl/status/statusor.h"
#include "db/pool.h"
#include "db/reads.h"
#include "queue/event.h"

// The events of all runs in one order, in which nothing is ever put before what was read.

namespace finetuned {

// Where an event stands in the feed; the places of a run's events ascend with their numbers.
struct FeedPlace {
  int64_t position = 0;
  int64_t run_id = 0;
  int64_t seq = 0;

  friend bool operator<(const FeedPlace& a, const FeedPlace& b) {
    return std::tie(a.position, a.run_id, a.seq) < std::tie(b.position, b.run_id, b.seq);
  }
  friend bool operator==(const FeedPlace& a, const FeedPlace& b) {
    return std::tie(a.position, a.run_id, a.seq) == std::tie(b.position, b.run_id, b.seq);
  }
};

// What a reader of the feed sees. An empty list is everything.
struct FeedFilter {
  Viewer viewer;
  // Uid or path of an experiment.
  std::string experiment;
  std::vector<std::string> user_emails;
  std::vector<EventType> types;
};

// An event, and whose it is.
struct FeedEntry {
  FeedPlace place;
  int64_t workspace_id = 0;
  std::string workspace;
  int64_t owner_id = 0;
  std::string email;
  // Uid.
  std::string experiment;
  std::string experiment_path;
  std::string run_name;
  Event event;
};

// The same that `read_feed` decides.
bool Fits(const FeedFilter& filter, const FeedEntry& entry);

struct FeedPage {
  std::vector<FeedEntry> entries;
  // Everything up to here is in the entries or does not fit. That of an event, and never further: a
  // server that has crashed gives numbers again of transactions that left nothing in its log.
  FeedPlace end;
  // Whether there is more.
  bool more = false;
  // Events up to this position may have been dropped.
  int64_t dropped = 0;
};

struct FeedEnd {
  // Of the last event that can be read.
  FeedPlace place;
  // Positions of events to come are at or above it.
  int64_t horizon = 0;
  // Events up to this position may have been dropped.
  int64_t dropped = 0;
};

// Safe for concurrent use.
class Feed {
 public:
  explicit Feed(Pool* pool) : pool_(*pool) {}

  // What stands behind a place and fits, of at most `limit` events. Without a filter, everything.
  absl::StatusOr<FeedPage> Read(const FeedPlace& after, const FeedFilter* filter, int limit);

  absl::StatusOr<FeedEnd> End();

  // To be called once at the start of a daemon: positions have to go on where they were, also in a
  // cluster that was restored and counts its transactions anew.
  absl::Status RaiseBase();

 private:
  Pool& pool_;
};

}  // namespace finetuned
