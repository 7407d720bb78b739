#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "db/prelude.h"
#include "db/query.h"

namespace pqxx {
class result;
class transaction_base;
}  // namespace pqxx

namespace finetuned {

class Connection;

// Counts statements; implemented by the daemon's metrics.
class DatabaseObserver {
 public:
  virtual ~DatabaseObserver() = default;
  virtual void TransactionEnded(const char* name, absl::Duration duration, bool ok) = 0;
};

// A fixed number of connections to Postgres, each used by one transaction at a time. All methods
// may be called from any thread and block. A connection that was lost, or that stands on a server
// that does not take writes, is thrown away with those that wait; the next use connects again, so
// the pool heals without a restart.
class Pool {
 public:
  struct Options {
    // As libpq reads it.
    std::string database_url;
    int max_connections = 1;
    // How long a caller waits for a free connection before UNAVAILABLE.
    absl::Duration acquire_timeout = absl::Seconds(5);
    // Server-side limits, set on every connection.
    absl::Duration statement_timeout = absl::Seconds(30);
    absl::Duration lock_timeout = absl::Seconds(10);
    // A connection is replaced when it is older, so that a failover is noticed by idle ones too.
    absl::Duration max_age = absl::Minutes(30);
    // How long a new connection keeps the plans of its statements; then twice as long, and so on,
    // up to 10 minutes.
    absl::Duration first_plan_life = absl::Seconds(1);
    DatabaseObserver* observer = nullptr;
  };

  explicit Pool(Options options);
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  using Body = std::function<absl::Status(pqxx::transaction_base&)>;

  // Runs `body` in a transaction (READ COMMITTED) and commits when it returns OK. A conflict runs
  // it again, so it must keep no state between calls. Errors: those of TranslateCurrentException,
  // or the body's.
  absl::Status Transact(const char* name, const Body& body);

  // The same after a prelude, with the rows of its last statement.
  using BodyAfter = std::function<absl::Status(pqxx::transaction_base&, const pqxx::result&)>;
  absl::Status Transact(const char* name, const Prelude& prelude, const BodyAfter& body);

  // Runs `body` outside a transaction, for single statements.
  absl::Status Read(const char* name, const Body& body);

 private:
  // Without a prelude there is no transaction.
  absl::Status Run(const char* name, const Prelude* prelude, const BodyAfter& body);
  absl::Status RunOnce(const char* name, const Prelude* prelude, const BodyAfter& body);
  absl::Status Acquire(std::unique_ptr<Connection>* connection);
  void Release(std::unique_ptr<Connection> connection, bool broken);

  // Constant after construction.
  const Options options_;

  Mutex mutex_;
  CondVar freed_;
  int in_use_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<std::unique_ptr<Connection>> idle_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace finetuned
