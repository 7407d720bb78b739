#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "finetuned/v1/worker_service.pb.h"

namespace finetuned {

// (run, epoch): names one attempt, orders them, and gives its folder its name.
using AttemptKey = std::pair<int64_t, int64_t>;
AttemptKey KeyOf(const v1::AttemptRef& ref);
v1::AttemptRef RefOf(const AttemptKey& key);

// What the worker itself has decided about an attempt; on disk before it is acted on.
struct AttemptNotes {
  // Indices of the GPUs it was given.
  std::vector<int> gpus;
  // The stop that is being carried out.
  v1::StopKind stop = v1::STOP_KIND_UNSPECIFIED;
  // Whether the worker stopped it because its right to run had ended.
  bool self_stopped = false;
  // How long the trainer had said nothing when the worker stopped it for that; zero for not.
  absl::Duration silent = absl::ZeroDuration();
  // Time between asking the trainer to stop and killing it.
  absl::Duration grace = absl::Seconds(120);
};

// The folder `attempts/<run_id>-<epoch>` under the work folder, and every file in it:
//
//   lease.pb      the Lease; the folder counts from the moment it is there
//   notes.json    AttemptNotes
//   journal       Journal
//   shim.lock     locked by the shim for its whole life
//   shim.json     the shim and its trainer, written before the trainer is started
//   exit.json     how the trainer ended, written when nothing of it is left
//   end.pb        AttemptEnd, written when the last report is in the journal
//   spec.json events.jsonl control.json error.json scratch/    of the trainer contract
//
// Every write is atomic. A value: it keeps no file open. Errors are those of base/file.h.
class AttemptDir {
 public:
  AttemptDir(const std::string& work_dir, const AttemptKey& key);

  // The attempts that have a folder with a lease; makes the folder of attempts when there is none.
  // What an interrupted Create or Remove left is deleted.
  static absl::StatusOr<std::vector<AttemptKey>> List(const std::string& work_dir);

  absl::Status Create(const v1::Lease& lease, const AttemptNotes& notes) const;
  absl::StatusOr<v1::Lease> ReadLease() const;
  absl::StatusOr<AttemptNotes> ReadNotes() const;
  absl::Status WriteNotes(const AttemptNotes& notes) const;
  // NOT_FOUND before the end.
  absl::StatusOr<v1::AttemptEnd> ReadEnd() const;
  absl::Status WriteEnd(const v1::AttemptEnd& end) const;
  // Tells the trainer what is wanted of it.
  absl::Status WriteControl(v1::StopKind stop, absl::Time deadline) const;
  // Makes the folder and all in it go away; after a crash in between List does the rest.
  // UNAVAILABLE while a shim holds the attempt: no shim can start in a folder that is being
  // removed.
  absl::Status Remove() const;

  const AttemptKey& key() const { return key_; }
  const std::string& path() const { return path_; }
  std::string File(const std::string& name) const { return path_ + "/" + name; }

 private:
  const AttemptKey key_;
  const std::string parent_;
  const std::string path_;
};

// The word of the trainer contract: cancel, pause, preempt, deadline; empty for none.
std::string StopWord(v1::StopKind stop);

}  // namespace finetuned
