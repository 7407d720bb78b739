#pragma once

#include <functional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "artifacts/artifact_store.h"
#include "finetuned/v1/worker_service.pb.h"
#include "worker/event_translate.h"

namespace finetuned {

// Moves an attempt's checkpoints from its staging folder,
// `<artifact_path>/attempts/<epoch>/checkpoints`, to the run's checkpoints folder, where they are
// complete and durable from the first moment, and deletes those no longer wanted. Safe for
// concurrent use by different attempts.
class Publisher {
 public:
  explicit Publisher(const ArtifactStore& store) : store_(store) {}

  // The staging folder, relative to the root.
  static std::string StagingPath(const v1::Lease& lease);

  // Publishes both folders of a checkpoint and points `latest-sharded-rank0.symlink` at it; returns
  // the event CHECKPOINT_SAVED. May be repeated after a crash or an error. INVALID_ARGUMENT,
  // NOT_FOUND, DATA_LOSS: it will never work; FAILED_PRECONDITION: the lease is not held, or a
  // later attempt has published that name; others may pass.
  absl::StatusOr<v1::RunEvent> Publish(const v1::Lease& lease, const CheckpointLine& line,
                                       const std::function<bool()>& may_publish) const;

  // Copies the weights of a published checkpoint, its folder in the Hugging Face layout, to
  // `lease.register_path`, where they are complete and durable from the first moment. May be
  // repeated as Publish; errors as there, and INVALID_ARGUMENT for a checkpoint without such a
  // folder, DATA_LOSS for one that does not match its manifest, CANCELLED when `go_on`, which is
  // asked while copying, says no. After an error nothing of the copy is left.
  absl::StatusOr<v1::ModelFiles> Register(const v1::Lease& lease, const std::string& checkpoint,
                                          const std::function<bool()>& go_on,
                                          const std::function<bool()>& may_publish) const;

  // Deletes this run's published checkpoints but the newest `spec.save_num_to_keep` of those that
  // are listed: what earlier attempts have published and could not report is not, and goes first.
  // To be called when the newest, `newest_step`, is acknowledged. Later ones of this attempt, and
  // those of other runs, are left alone.
  absl::Status Prune(const v1::Lease& lease, int64_t newest_step) const;

 private:
  const ArtifactStore& store_;
};

// The batch in `ep{epochs}-ba{batches}`; -1 for another name.
int64_t BatchOfCheckpoint(const std::string& name);

}  // namespace finetuned
