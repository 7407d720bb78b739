#include "worker/capacity.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>

namespace finetuned {

absl::StatusOr<v1::Compute> ResolveCapacity(const v1::Compute& configured,
                                            const std::vector<Gpu>& gpus) {
  v1::Compute capacity = configured;
  if (configured.cpus() < 0 || configured.gpus() < 0 || configured.memory_bytes() < 0) {
    return absl::InvalidArgumentError("capacity must not be negative");
  }
  if (capacity.cpus() == 0) {
    cpu_set_t set;
    CPU_ZERO(&set);
    // The cores this process may use, which in a container can be fewer than there are.
    const int count = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    capacity.set_cpus(std::max(1, count));
  }
  if (capacity.memory_bytes() == 0) {
    capacity.set_memory_bytes(sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGE_SIZE));
  }
  if (!capacity.has_gpus()) capacity.set_gpus(static_cast<int>(gpus.size()));
  if (capacity.gpu_type().empty() && capacity.gpus() > 0 && !gpus.empty()) {
    const std::string type = GpuType(gpus[0].name);
    const bool same = std::all_of(gpus.begin(), gpus.end(),
                                  [&](const Gpu& gpu) { return GpuType(gpu.name) == type; });
    if (same) capacity.set_gpu_type(type);
  }
  capacity.set_nodes(1);
  return capacity;
}

v1::Compute FreeCapacity(const v1::Compute& total, const std::vector<v1::Compute>& used) {
  int64_t gpus = total.gpus();
  int64_t cpus = total.cpus();
  int64_t memory = total.memory_bytes();
  for (const v1::Compute& one : used) {
    gpus -= one.gpus();
    cpus -= one.cpus();
    memory -= one.memory_bytes();
  }
  v1::Compute free = total;
  free.set_gpus(static_cast<int>(std::max<int64_t>(0, gpus)));
  free.set_cpus(static_cast<int>(std::max<int64_t>(0, cpus)));
  free.set_memory_bytes(std::max<int64_t>(0, memory));
  return free;
}

std::vector<int> AssignGpus(int total, const std::set<int>& in_use, int count) {
  std::vector<int> assigned;
  for (int i = 0; i < total && static_cast<int>(assigned.size()) < count; ++i) {
    if (in_use.count(i) == 0) assigned.push_back(i);
  }
  return assigned;
}

}  // namespace finetuned
