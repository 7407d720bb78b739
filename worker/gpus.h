#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/mutex.h"

// The GPUs of this host, as `nvidia-smi` tells of them.

namespace finetuned {

struct Gpu {
  int index = 0;
  // As the driver says: `NVIDIA H100 80GB HBM3`.
  std::string name;
  int64_t memory_bytes = 0;
  int64_t used_bytes = 0;
  // 0 to 100; -1 where the driver does not tell.
  int utilization_percent = -1;
};

// The output of `--query-gpu=index,name,memory.total,memory.used,utilization.gpu
// --format=csv,noheader,nounits`. INVALID_ARGUMENT for another text. Pure.
absl::StatusOr<std::vector<Gpu>> ParseGpus(const std::string& text);

// Runs the program, for at most `limit` and a second to end it. NOT_FOUND when there is none of
// that name; DEADLINE_EXCEEDED; UNAVAILABLE with its words when it fails, or while an earlier one
// hangs that cannot be killed.
inline constexpr absl::Duration kGpuQueryLimit = absl::Seconds(10);
absl::StatusOr<std::vector<Gpu>> QueryGpus(const std::string& program,
                                           absl::Duration limit = kGpuQueryLimit);

// The type that runs ask for: of `NVIDIA H100 80GB HBM3`, `h100`; letters, digits and `-`. Pure.
std::string GpuType(const std::string& name);

// Looks at the GPUs now and then, on a thread of its own, and tells how those of an attempt are
// used. Safe for concurrent use.
class GpuMonitor {
 public:
  static constexpr absl::Duration kInterval = absl::Seconds(10);

  explicit GpuMonitor(std::string program) : program_(std::move(program)) {}
  ~GpuMonitor() { Stop(); }

  void Start();
  void Stop() ABSL_LOCKS_EXCLUDED(mutex_);
  // `gpu_memory_bytes`, the sum over these GPUs, and `gpu_utilization`, their mean from 0 to 1.
  // Empty while nothing is known.
  std::map<std::string, double> Metrics(const std::vector<int>& gpus) const
      ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  void Loop() ABSL_LOCKS_EXCLUDED(mutex_);

  const std::string program_;
  std::thread thread_;
  mutable Mutex mutex_;
  CondVar changed_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<Gpu> gpus_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace finetuned
