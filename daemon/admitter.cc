#include "daemon/admitter.h"

#include <utility>

namespace finetuned {
namespace {

template <typename Result>
typename Batcher<std::shared_ptr<const NewRun>, Result>::Options OptionsOf(
    const char* kind, const Admitter::SizeObserver& observe_size) {
  typename Batcher<std::shared_ptr<const NewRun>, Result>::Options options;
  options.name = kind;
  options.observe_size = [kind, observe_size](size_t size) { observe_size(kind, size); };
  return options;
}

}  // namespace

Admitter::Admitter(AdmissionStore* admission, AdmissionStore* lookups, SizeObserver observe_size)
    : lookups_(OptionsOf<std::optional<Admission>>("look_up", observe_size),
               [lookups](const auto& runs) { return lookups->FindRefused(runs); }),
      creates_(OptionsOf<Admission>("create", observe_size),
               [admission](const auto& runs) { return admission->Admit(runs); }) {}

void Admitter::Start() {
  creates_.Start();
  lookups_.Start();
}

void Admitter::Stop() {
  // What is looked up may go on to the other.
  lookups_.Stop();
  creates_.Stop();
}

void Admitter::Submit(std::shared_ptr<const NewRun> run, Callback callback) {
  if (!IsFull(run->owner_id)) return Admit(std::move(run), std::move(callback));
  lookups_.Submit(run, [this, run, callback = std::move(callback)](
                           const absl::StatusOr<std::optional<Admission>>& refused) mutable {
    if (!refused.ok()) return callback(refused.status());
    if (refused->has_value()) return callback(**refused);
    SetFull(run->owner_id, false);
    Admit(std::move(run), std::move(callback));
  });
}

void Admitter::Admit(std::shared_ptr<const NewRun> run, Callback callback) {
  const int64_t owner_id = run->owner_id;
  creates_.Submit(std::move(run), [this, owner_id, callback = std::move(callback)](
                                      const absl::StatusOr<Admission>& admission) {
    if (admission.ok() && admission->outcome == Admission::Outcome::kQuotaReached) {
      SetFull(owner_id, true);
    }
    callback(admission);
  });
}

bool Admitter::IsFull(int64_t owner_id) {
  MutexLock lock(mutex_);
  return full_.count(owner_id) != 0;
}

void Admitter::SetFull(int64_t owner_id, bool full) {
  MutexLock lock(mutex_);
  if (!full) {
    full_.erase(owner_id);
    return;
  }
  if (full_.size() >= kMaxFullOwners) full_.clear();
  full_.insert(owner_id);
}

}  // namespace finetuned
