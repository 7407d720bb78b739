#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>

#include <prometheus/family.h>

#include "base/mutex.h"

namespace finetuned {

// The members of a family of metrics, found by the values of one label or two. Family::Add finds
// them too, but makes the labels, their hash and a member to throw away each time. Safe for
// concurrent use.
template <typename Metric>
class MetricMembers {
 public:
  // The names of the labels, the second empty for none, and what a member is made of. The family
  // must outlive this object.
  template <typename... Args>
  MetricMembers(prometheus::Family<Metric>& family, std::string first, std::string second,
                Args... args)
      : make_([&family, first = std::move(first), second = std::move(second),
               args...](const Key& key) -> Metric& {
          prometheus::Labels labels = {{first, key.first}};
          if (!second.empty()) labels[second] = key.second;
          return family.Add(labels, args...);
        }) {}

  // Makes the member where it is the first time. Values are of few kinds: a member stays.
  Metric& Of(std::string_view first, std::string_view second = {}) {
    MutexLock lock(mutex_);
    const auto found = members_.find(Words(first, second));
    if (found != members_.end()) return *found->second;
    const Key key(first, second);
    return *members_.emplace(key, &make_(key)).first->second;
  }

 private:
  using Key = std::pair<std::string, std::string>;
  using Words = std::pair<std::string_view, std::string_view>;
  struct Before {
    using is_transparent = void;
    bool operator()(const Words& a, const Words& b) const { return a < b; }
  };

  const std::function<Metric&(const Key&)> make_;
  Mutex mutex_;
  std::map<Key, Metric*, Before> members_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace finetuned
