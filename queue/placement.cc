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

std::vector<Candidate> TakeRuns(std::vector<Candidate>* candidates, Shape free, size_t max_count) {
  std::vector<Candidate> taken, left;
  for (Candidate& candidate : *candidates) {
    if (taken.size() < max_count && Fits(candidate.needed, free)) {
      free = Minus(free, candidate.needed);
      taken.push_back(std::move(candidate));
    } else {
      left.push_back(std::move(candidate));
    }
  }
  *candidates = std::move(left);
  return taken;
}

}  // namespace finetuned
