#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "base/mutex.h"

namespace finetuned {

// Collects the results of a call's items, which come from a batcher in any order, and hands them on
// when all are there.
template <typename Result>
class Gather {
 public:
  using Results = std::vector<absl::StatusOr<Result>>;

  // Requires count > 0. The callbacks of At keep the object alive.
  static std::shared_ptr<Gather> Make(size_t count, std::function<void(Results)> done) {
    return std::shared_ptr<Gather>(new Gather(count, std::move(done)));
  }

  // The callback for item i.
  static std::function<void(absl::StatusOr<Result>)> At(std::shared_ptr<Gather> gather, size_t i) {
    return [gather = std::move(gather), i](absl::StatusOr<Result> result) {
      gather->Set(i, std::move(result));
    };
  }

 private:
  Gather(size_t count, std::function<void(Results)> done)
      : done_(std::move(done)), missing_(count), results_(count, absl::UnknownError("")) {}

  void Set(size_t i, absl::StatusOr<Result> result) {
    Results results;
    {
      MutexLock lock(mutex_);
      results_[i] = std::move(result);
      if (--missing_ > 0) return;
      results = std::move(results_);
    }
    done_(std::move(results));
  }

  const std::function<void(Results)> done_;
  Mutex mutex_;
  size_t missing_ ABSL_GUARDED_BY(mutex_);
  Results results_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace finetuned
