#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include <grpcpp/grpcpp.h>

#include "finetuned/v1/run_service.grpc.pb.h"
#include "tests/support/test_daemon.h"

namespace finetuned::bench {

// Many who follow one run, over a few shared connections.
class Subscribers {
 public:
  // Streams that a principal may have open.
  static constexpr int kStreamsPerPrincipal = 64;

  // Tokens of as many principals as so many streams need; each sees every run.
  static std::vector<std::string> MakeTokens(const TestInstallation& installation, int streams);

  Subscribers(const std::string& address, const std::vector<std::string>& tokens, int connections);
  // Cancels the streams and waits for their ends.
  ~Subscribers();

  // Opens streams after this event, and waits until each has had a message. One that is stopped
  // takes nothing more. False where one was refused.
  bool Open(const std::string& run, int64_t after_seq, int count, bool stopped = false);
  // From now on it is noted how long events take to come.
  void Record(bool on) { recording_ = on; }
  // What was noted since, in milliseconds: from when an event was stored, by its own time, until it
  // was here. Forgets it.
  std::vector<double> TakeDelays();
  // Waits until every stream that is not stopped has had this event.
  bool WaitFor(int64_t seq);
  int64_t messages() const { return messages_; }
  // Events that did not have the number after the one before.
  int64_t wrong() const { return wrong_; }

 private:
  class Stream;

  const std::vector<std::string> tokens_;
  std::vector<std::unique_ptr<v1::RunService::Stub>> stubs_;
  std::vector<std::unique_ptr<Stream>> streams_;
  std::atomic<bool> recording_ = false;
  std::atomic<int64_t> messages_ = 0;
  std::atomic<int64_t> wrong_ = 0;
};

}  // namespace finetuned::bench
