#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "queue/run.h"

// Which waiting runs a worker gets: a pure decision over what is free and the first of each lane of
// the queue.

namespace finetuned {

// What an attempt needs, or a worker has.
struct Shape {
  int gpus = 0;
  // Empty: any.
  std::string gpu_type;
  int cpus = 0;
  // 0: not stated.
  int64_t memory_bytes = 0;
};

bool operator==(const Shape& a, const Shape& b);

// Whether `needed` fits into `free`. A type that is asked for must be the worker's.
bool Fits(const Shape& needed, const Shape& free);

// What is left when it has been taken. Requires Fits.
Shape Minus(const Shape& free, const Shape& needed);

// A waiting run, as the queue has it.
struct Candidate {
  int shape_id = 0;
  Priority priority = Priority::kAuto;
  int64_t pos = 0;
  int64_t run_id = 0;
  Shape needed;
};

// Takes candidates out of the list, in their order (priority, then position), as long as they fit
// together; one that does not fit is passed over, so that a large run never keeps a small worker
// idle. At most max_count.
std::vector<Candidate> TakeRuns(std::vector<Candidate>* candidates, Shape free, size_t max_count);

}  // namespace finetuned
