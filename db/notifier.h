#pragma once

#include <atomic>
#include <functional>
#include <string>
#include <thread>

#include "absl/time/time.h"
#include "base/mutex.h"

namespace finetuned {

// Tells the other daemons of the same database that something was committed, and hears it from
// them, over a connection of its own. A notification says "look" and nothing else, and is sent
// outside every transaction that does anything: what is lost, or never comes because a pooler or a
// network is in between, costs time only, for everybody polls as well.
//
// It is sent at most once an interval, and only while another daemon was heard lately: one that is
// alone sends nothing but the probe by which it finds out whether it hears at all.
class Notifier {
 public:
  // What others are to look at.
  enum Topic : unsigned {
    // The runs that they follow.
    kRuns = 1,
    // The queue.
    kQueue = 2,
  };

  static constexpr absl::Duration kInterval = absl::Milliseconds(20);
  static constexpr absl::Duration kProbeInterval = absl::Seconds(10);
  // A connection that does not hear its own probe within this is made anew.
  static constexpr absl::Duration kProbeTimeout = absl::Seconds(5);
  // How long another daemon counts after it was heard: three of its probes.
  static constexpr absl::Duration kNeighbourAge = absl::Seconds(35);

  struct Options {
    std::string database_url;
    // Another daemon says so. Called on the notifier's thread: hands over and returns.
    std::function<void(Topic)> heard;
    // Whether it hears; called when that changes.
    std::function<void(bool)> listening;
  };

  explicit Notifier(Options options);
  ~Notifier();
  Notifier(const Notifier&) = delete;
  Notifier& operator=(const Notifier&) = delete;

  void Start();
  // Idempotent; before Start as well.
  void Stop();

  // Something was committed. Costs next to nothing; from any thread.
  void Notify(Topic topic);

 private:
  class Session;

  void Loop();
  // Waits for a notification, a call or the time; true when it is to end.
  bool Wait(int socket, absl::Duration timeout);
  unsigned TakePending();

  const Options options_;
  // Readable when there is something to do.
  int wake_fd_ = -1;
  std::thread thread_;
  // Another daemon was heard lately.
  std::atomic<bool> has_neighbour_{false};

  Mutex mutex_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  // Topics to be sent.
  unsigned pending_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace finetuned
