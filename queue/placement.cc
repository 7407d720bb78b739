#include "queue/placement.h"

namespace finetuned {

bool operator==(const Shape& a, const Shape& b) {
  return a.gpus == b.gpus && a.gpu_type == b.gpu_type && a.cpus == b.cpus &&
         a.memory_bytes == b.memory_bytes;
}

bool Fits(const Shape& needed, const Shape& free) {
  if (needed.gpus > free.gpus || needed.cpus > free.cpus) return false;
  if (needed.memory_bytes > free.memory_bytes) return false;
  return needed.gpu_type.empty() || needed.gpu_type == free.gpu_type;
}

Shape Minus(const Shape& free, const Shape& needed) {
  Shape rest = free;
  rest.gpus -= needed.gpus;
  rest.cpus -= needed.cpus;
  rest.memory_bytes -= needed.memory_bytes;
  return rest;
}

std::vector<Candidate> ChooseRuns(const std::vector<Candidate>& candidates, Shape free,
                                  size_t max_count) {
  std::vector<Candidate> chosen;
  for (const Candidate& candidate : candidates) {
    if (chosen.size() == max_count) break;
    if (!Fits(candidate.needed, free)) continue;
    free = Minus(free, candidate.needed);
    chosen.push_back(candidate);
  }
  return chosen;
}

}  // namespace finetuned
