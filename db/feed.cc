#include "db/feed.h"

#include <algorithm>
#include <optional>

#include <pqxx/pqxx>

#include "base/status.h"
#include "db/array.h"
#include "db/queries.h"
#include "db/row.h"

namespace finetuned {
namespace {

FeedEntry EntryOf(const Rows::Row& row, const FeedPlace& place) {
  FeedEntry entry;
  entry.place = place;
  entry.workspace_id = row["workspace_id"].as<int64_t>();
  entry.workspace = row["workspace"].c_str();
  entry.owner_id = row["owner_id"].as<int64_t>();
  entry.email = row["email"].c_str();
  entry.experiment = row["experiment"].c_str();
  entry.experiment_path = row["experiment_path"].c_str();
  entry.run_name = row["run_name"].c_str();
  entry.event.seq = place.seq;
  entry.event.event_time = TimeOf(row["event_time"]);
  entry.event.epoch = row["epoch"].as<int64_t>();
  entry.event.type = ParseEventType(row["type"].c_str()).value();
  entry.event.message = row["message"].c_str();
  entry.event.detail = BytesOf(row["detail"]);
  return entry;
}

template <typename Values, typename Value>
bool Allows(const Values& values, const Value& value) {
  return values.empty() || std::find(values.begin(), values.end(), value) != values.end();
}

}  // namespace

bool Fits(const FeedFilter& filter, const FeedEntry& entry) {
  return entry.workspace_id == filter.viewer.workspace_id &&
         (filter.viewer.sees_workspace || entry.owner_id == filter.viewer.owner_id) &&
         (filter.experiment.empty() || filter.experiment == entry.experiment ||
          filter.experiment == entry.experiment_path) &&
         Allows(filter.user_emails, entry.email) && Allows(filter.types, entry.event.type);
}

absl::StatusOr<FeedPage> Feed::Read(const FeedPlace& after, const FeedFilter* filter, int limit) {
  std::optional<int64_t> workspace, owner;
  std::string experiment;
  std::vector<std::string> emails, types;
  if (filter != nullptr) {
    workspace = filter->viewer.workspace_id;
    if (!filter->viewer.sees_workspace) owner = filter->viewer.owner_id;
    experiment = filter->experiment;
    emails = filter->user_emails;
    for (const EventType type : filter->types) types.emplace_back(Name(type));
  }
  FeedPage page;
  FT_RETURN_IF_ERROR(pool_.Read("read_feed", [&](pqxx::transaction_base& tx) {
    page = FeedPage();
    page.end = after;
    const Rows rows(tx.exec_prepared(kReadFeed.name, after.position, after.run_id, after.seq, limit,
                                     workspace, owner, experiment, ArrayOf(emails),
                                     ArrayOf(types)));
    int read = 0;
    for (const auto row : rows) {
      page.dropped = row["feed_dropped"].as<int64_t>();
      if (row["feed_pos"].is_null()) continue;
      ++read;
      const FeedPlace place{row["feed_pos"].as<int64_t>(), row["run_id"].as<int64_t>(),
                            row["seq"].as<int64_t>()};
      if (row["fits"].as<bool>()) page.entries.push_back(EntryOf(row, place));
      page.more = read == limit;
      page.end = place;
    }
    return absl::OkStatus();
  }));
  return page;
}

absl::StatusOr<FeedEnd> Feed::End() {
  FeedEnd end;
  FT_RETURN_IF_ERROR(pool_.Read("feed_end", [&](pqxx::transaction_base& tx) {
    const auto row = tx.exec_prepared1(kFeedEnd.name);
    end.place = {row["feed_pos"].as<int64_t>(), row["run_id"].as<int64_t>(),
                 row["seq"].as<int64_t>()};
    end.horizon = row["horizon"].as<int64_t>();
    end.dropped = row["feed_dropped"].as<int64_t>();
    return absl::OkStatus();
  }));
  return end;
}

absl::Status Feed::RaiseBase() {
  return pool_.Read("raise_feed_base", [&](pqxx::transaction_base& tx) {
    tx.exec_prepared(kRaiseFeedBase.name);
    return absl::OkStatus();
  });
}

}  // namespace finetuned
