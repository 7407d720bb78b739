#include "db/notifier.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <optional>
#include <utility>

#include <pqxx/pqxx>

#include "absl/strings/str_cat.h"
#include "base/backoff.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/logging.h"
#include "db/liveness.h"

namespace finetuned {
namespace {

constexpr char kRunsChannel[] = "finetuned_runs";
constexpr char kQueueChannel[] = "finetuned_queue";

absl::Duration Now() { return RealClock::Get().SinceBoot(); }

class Receiver final : public pqxx::notification_receiver {
 public:
  Receiver(pqxx::connection& connection, const char* channel,
           std::function<void(const std::string&)> heard)
      : notification_receiver(connection, channel), heard_(std::move(heard)) {}
  void operator()(const std::string& payload, int) override { heard_(payload); }

 private:
  const std::function<void(const std::string&)> heard_;
};

}  // namespace

// One connection, until it breaks; its functions throw what libpqxx throws.
class Notifier::Session {
 public:
  explicit Session(Notifier* notifier)
      : notifier_(*notifier),
        connection_(WithLiveness(notifier->options_.database_url)),
        runs_(connection_, kRunsChannel, [this](const std::string& who) { Hear(kRuns, who); }),
        queue_(connection_, kQueueChannel, [this](const std::string& who) { Hear(kQueue, who); }) {
    // A new connection that libpqxx made by itself would be another's for a moment.
    connection_.inhibit_reactivation(true);
    Send("set application_name = 'finetuned'; set statement_timeout = 10000");
  }

  // Until the notifier stops; throws when the connection is of no use any more.
  void Run() {
    absl::Duration now;
    do {
      // What came while a statement was answered is here already: no socket would tell of it.
      connection_.get_notifs();
      now = Now();
      if (probe_sent_ && now - *probe_sent_ > kProbeTimeout) {
        throw pqxx::broken_connection("its own notification did not come back");
      }
      if (heard_other_ && now - *heard_other_ > kNeighbourAge) {
        heard_other_.reset();
        notifier_.has_neighbour_ = false;
      }
      unsigned topics = 0;
      if (now >= next_send_) topics = notifier_.TakePending();
      if (now >= next_probe_) {
        next_probe_ = now + kProbeInterval;
        if (!probe_sent_) probe_sent_ = now;
        topics |= kRuns;
      }
      if (topics != 0) {
        next_send_ = now + kInterval;
        std::string sql;
        if ((topics & kRuns) != 0) absl::StrAppend(&sql, "notify finetuned_runs, '", id_, "';");
        if ((topics & kQueue) != 0) absl::StrAppend(&sql, "notify finetuned_queue, '", id_, "';");
        Send(sql);
        connection_.get_notifs();
      }
    } while (!notifier_.Wait(connection_.sock(), Timeout(now)));
  }

 private:
  // Of a round that began at `now`.
  absl::Duration Timeout(absl::Duration now) const {
    absl::Duration until = next_probe_;
    if (probe_sent_) until = std::min(until, *probe_sent_ + kProbeTimeout + kInterval);
    // What was not taken because the interval was not over waits for the rest.
    if (now < next_send_) until = std::min(until, next_send_);
    return std::max(until - Now(), absl::ZeroDuration());
  }

  void Send(const std::string& sql) {
    pqxx::nontransaction statement(connection_);
    statement.exec(sql);
  }

  void Hear(Topic topic, const std::string& who) {
    if (who == id_) {
      if (topic == kRuns) probe_sent_.reset();
      if (!std::exchange(heard_itself_, true)) notifier_.options_.listening(true);
      return;
    }
    // One that has just come is answered, so that it knows as well.
    if (!heard_other_) next_probe_ = Now();
    heard_other_ = Now();
    notifier_.has_neighbour_ = true;
    notifier_.options_.heard(topic);
  }

  Notifier& notifier_;
  // By which it knows what it has sent itself; a pooler gives each client another number.
  const std::string id_ = HexEncode(RandomBytes(8));
  pqxx::connection connection_;
  Receiver runs_, queue_;
  bool heard_itself_ = false;
  // The probe that has not come back yet.
  std::optional<absl::Duration> probe_sent_;
  std::optional<absl::Duration> heard_other_;
  absl::Duration next_probe_ = Now();
  absl::Duration next_send_ = Now();
};

Notifier::Notifier(Options options)
    : options_(std::move(options)), wake_fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

Notifier::~Notifier() {
  Stop();
  if (wake_fd_ >= 0) close(wake_fd_);
}

void Notifier::Start() {
  thread_ = std::thread([this] { Loop(); });
}

void Notifier::Stop() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
  }
  eventfd_write(wake_fd_, 1);
  if (thread_.joinable()) thread_.join();
}

void Notifier::Notify(Topic topic) {
  if (!has_neighbour_) return;
  {
    MutexLock lock(mutex_);
    // One that is on its way says this as well.
    if ((pending_ & topic) != 0) return;
    pending_ |= topic;
  }
  eventfd_write(wake_fd_, 1);
}

unsigned Notifier::TakePending() {
  MutexLock lock(mutex_);
  return std::exchange(pending_, 0);
}

bool Notifier::Wait(int socket, absl::Duration timeout) {
  pollfd fds[] = {{wake_fd_, POLLIN, 0}, {socket, POLLIN, 0}};
  poll(fds, socket >= 0 ? 2 : 1,
       static_cast<int>(absl::ToInt64Milliseconds(timeout + absl::Microseconds(999))));
  eventfd_t count;
  eventfd_read(wake_fd_, &count);
  MutexLock lock(mutex_);
  return stopping_;
}

void Notifier::Loop() {
  Backoff backoff({absl::Milliseconds(200), absl::Seconds(30)});
  bool told = false;
  options_.listening(false);
  for (;;) {
    const absl::Duration begin = Now();
    try {
      Session session(this);
      session.Run();
      return;
    } catch (const std::exception& error) {
      // That the database is away is said elsewhere; that only this is not heard, here and once.
      if (!std::exchange(told, true)) {
        Log(LogLevel::kInfo, "other daemons are not heard; what they do is found by polling",
            {{"error", error.what()}});
      }
    }
    has_neighbour_ = false;
    options_.listening(false);
    // One that went well for long is begun again at once.
    if (Now() - begin > kProbeInterval) {
      backoff.Reset();
      told = false;
    }
    const absl::Duration until = Now() + backoff.Next();
    for (absl::Duration left = until - Now(); left > absl::ZeroDuration(); left = until - Now()) {
      if (Wait(/*socket=*/-1, left)) return;
    }
  }
}

}  // namespace finetuned
