#include "worker/attempt_dir.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "artifacts/artifact_store.h"
#include "artifacts/beneath.h"
#include "base/file.h"
#include "base/logging.h"
#include "base/status.h"
#include "base/time.h"
#include "nlohmann/json.hpp"

namespace finetuned {
namespace {

using nlohmann::json;

constexpr char kFolder[] = "attempts";
constexpr char kTrash[] = ".trash-";

bool ParseName(const std::string& name, AttemptKey& key) {
  long long run = 0;
  long long epoch = 0;
  int used = 0;
  if (sscanf(name.c_str(), "%lld-%lld%n", &run, &epoch, &used) != 2) return false;
  key = {run, epoch};
  return static_cast<size_t>(used) == name.size() && run > 0 && epoch > 0;
}

template <typename Message>
absl::StatusOr<Message> ReadMessage(const std::string& path) {
  FT_ASSIGN_OR_RETURN(const std::string content, ReadFile(path));
  Message message;
  if (!message.ParseFromString(content)) return absl::DataLossError("cannot be read: " + path);
  return message;
}

}  // namespace

AttemptKey KeyOf(const v1::AttemptRef& ref) { return {ref.run_id(), ref.epoch()}; }

v1::AttemptRef RefOf(const AttemptKey& key) {
  v1::AttemptRef ref;
  ref.set_run_id(key.first);
  ref.set_epoch(key.second);
  return ref;
}

std::string StopWord(v1::StopKind stop) {
  switch (stop) {
    case v1::CANCEL: return "cancel";
    case v1::PAUSE: return "pause";
    case v1::PREEMPT: return "preempt";
    case v1::DEADLINE: return "deadline";
    default: return "";
  }
}

AttemptDir::AttemptDir(const std::string& work_dir, const AttemptKey& key)
    : key_(key),
      parent_(work_dir + "/" + kFolder),
      path_(parent_ + "/" + std::to_string(key.first) + "-" + std::to_string(key.second)) {}

absl::StatusOr<std::vector<AttemptKey>> AttemptDir::List(const std::string& work_dir) {
  FT_RETURN_IF_ERROR(MakeDirectories(work_dir + "/" + kFolder, 0700));
  const ArtifactStore folder(work_dir + "/" + kFolder);
  FT_ASSIGN_OR_RETURN(const std::vector<ArtifactStore::Entry> entries, folder.List(""));
  std::vector<AttemptKey> keys;
  for (const ArtifactStore::Entry& entry : entries) {
    AttemptKey key;
    if (ParseName(entry.name, key) && FileExists(AttemptDir(work_dir, key).File("lease.pb"))) {
      keys.push_back(key);
    } else {
      // What is left of others must not keep this worker from its attempts.
      const absl::Status deleted = folder.Delete(entry.name);
      if (!deleted.ok()) {
        Log(LogLevel::kError, "a leftover in the work folder cannot be deleted",
            {{"name", entry.name}, {"error", deleted}});
      }
    }
  }
  return keys;
}

absl::Status AttemptDir::Create(const v1::Lease& lease, const AttemptNotes& notes) const {
  FT_RETURN_IF_ERROR(MakeDirectories(path_, 0700));
  FT_RETURN_IF_ERROR(MakeDirectories(File("scratch"), 0700));
  FT_RETURN_IF_ERROR(WriteNotes(notes));
  FT_RETURN_IF_ERROR(WriteControl(v1::STOP_KIND_UNSPECIFIED, absl::InfiniteFuture()));
  FT_RETURN_IF_ERROR(WriteFileAtomically(File("lease.pb"), lease.SerializeAsString(), 0600));
  return SyncDirectory(parent_);
}

absl::StatusOr<v1::Lease> AttemptDir::ReadLease() const {
  return ReadMessage<v1::Lease>(File("lease.pb"));
}

absl::StatusOr<AttemptNotes> AttemptDir::ReadNotes() const {
  FT_ASSIGN_OR_RETURN(const std::string content, ReadFile(File("notes.json")));
  const json document = json::parse(content, nullptr, /*allow_exceptions=*/false);
  AttemptNotes notes;
  if (!document.is_object()) return absl::DataLossError("cannot be read: " + File("notes.json"));
  if (document.contains("gpus") && document["gpus"].is_array()) {
    for (const json& gpu : document["gpus"]) {
      if (gpu.is_number_integer()) notes.gpus.push_back(gpu.get<int>());
    }
  }
  if (document.contains("stop") && document["stop"].is_number_integer() &&
      v1::StopKind_IsValid(document["stop"].get<int>())) {
    notes.stop = static_cast<v1::StopKind>(document["stop"].get<int>());
  }
  if (document.contains("self_stopped") && document["self_stopped"].is_boolean()) {
    notes.self_stopped = document["self_stopped"].get<bool>();
  }
  if (document.contains("silent_ms") && document["silent_ms"].is_number_integer()) {
    notes.silent = absl::Milliseconds(document["silent_ms"].get<int64_t>());
  }
  if (document.contains("grace_ms") && document["grace_ms"].is_number_integer()) {
    notes.grace = absl::Milliseconds(document["grace_ms"].get<int64_t>());
  }
  return notes;
}

absl::Status AttemptDir::WriteNotes(const AttemptNotes& notes) const {
  const json document = {{"gpus", notes.gpus},
                         {"stop", static_cast<int>(notes.stop)},
                         {"self_stopped", notes.self_stopped},
                         {"silent_ms", absl::ToInt64Milliseconds(notes.silent)},
                         {"grace_ms", absl::ToInt64Milliseconds(notes.grace)}};
  return WriteFileAtomically(File("notes.json"), document.dump(), 0600);
}

absl::StatusOr<v1::AttemptEnd> AttemptDir::ReadEnd() const {
  return ReadMessage<v1::AttemptEnd>(File("end.pb"));
}

absl::Status AttemptDir::WriteEnd(const v1::AttemptEnd& end) const {
  return WriteFileAtomically(File("end.pb"), end.SerializeAsString(), 0600);
}

absl::Status AttemptDir::WriteControl(v1::StopKind stop, absl::Time deadline) const {
  json document = {{"stop", nullptr}, {"deadline", nullptr}};
  if (stop != v1::STOP_KIND_UNSPECIFIED) {
    document["stop"] = StopWord(stop);
    document["deadline"] = FormatTime(deadline);
  }
  return WriteFileAtomically(File("control.json"), document.dump() + "\n", 0644);
}

absl::Status AttemptDir::Remove() const {
  const std::string name = path_.substr(parent_.size() + 1);
  const std::string trash = kTrash + name;
  const ArtifactStore folder(parent_);
  FT_RETURN_IF_ERROR(folder.Delete(trash));
  // The shim looks, with the lock in hand, whether the folder still has its name.
  const OwnedFd shim_lock(open(File("shim.lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  struct flock lock = {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  if (shim_lock.valid() && fcntl(shim_lock.get(), F_OFD_SETLK, &lock) != 0 &&
      (errno == EAGAIN || errno == EACCES)) {
    return absl::UnavailableError("a shim holds the attempt");
  }
  if (rename(path_.c_str(), (parent_ + "/" + trash).c_str()) != 0 && errno != ENOENT) {
    return ErrnoError(errno, "cannot move away", path_);
  }
  FT_RETURN_IF_ERROR(SyncDirectory(parent_));
  return folder.Delete(trash);
}

}  // namespace finetuned
