#pragma once

#include <deque>
#include <functional>
#include <thread>
#include <vector>

#include "base/mutex.h"

namespace finetuned {

// A fixed number of threads that run tasks in the order they came: where handlers block on
// Postgres, so that gRPC's own threads never do.
class Executor {
 public:
  // Tasks that wait; Submit refuses more.
  static constexpr size_t kMaxWaiting = 20000;

  explicit Executor(int thread_count) : thread_count_(thread_count) {}
  ~Executor() { Stop(); }
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;

  void Start();
  // Runs what was submitted before and returns. May be called twice.
  void Stop();
  // May be called from any thread; never blocks. False when it is stopping or full: the task will
  // not run.
  bool Submit(std::function<void()> task);

 private:
  void Loop();

  const int thread_count_;
  std::vector<std::thread> threads_;

  Mutex mutex_;
  CondVar changed_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::deque<std::function<void()>> tasks_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace finetuned
