#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <unordered_set>

#include "absl/status/statusor.h"
#include "base/mutex.h"
#include "db/admission.h"
#include "db/batcher.h"

namespace finetuned {

// Where creates go: in batches to the admission, in the order they came. Those of an owner whose
// last create was refused for the quota are looked up first, beside those batches: while the owner
// has no slot free they are refused without a lock, a write, or a wait for the creates of others.
class Admitter {
 public:
  // Owners that are remembered as full; when there are more, all are forgotten.
  static constexpr size_t kMaxFullOwners = 10000;

  using Callback = std::function<void(const absl::StatusOr<Admission>&)>;
  // Told of each batch: its kind and its size.
  using SizeObserver = std::function<void(const char* kind, size_t size)>;

  // Two stores, so that neither waits for the other's connection. They must outlive this object.
  Admitter(AdmissionStore* admission, AdmissionStore* lookups, SizeObserver observe_size);

  void Start();
  // Finishes what was submitted and returns; later creates get UNAVAILABLE. May be called twice.
  void Stop();

  // May be called from any thread; never blocks. The callback runs on a batcher's thread: it hands
  // over and returns.
  void Submit(std::shared_ptr<const NewRun> run, Callback callback);

 private:
  void Admit(std::shared_ptr<const NewRun> run, Callback callback);
  bool IsFull(int64_t owner_id);
  void SetFull(int64_t owner_id, bool full);

  Mutex mutex_;
  std::unordered_set<int64_t> full_ ABSL_GUARDED_BY(mutex_);
  Batcher<std::shared_ptr<const NewRun>, std::optional<Admission>> lookups_;
  Batcher<std::shared_ptr<const NewRun>, Admission> creates_;
};

}  // namespace finetuned
