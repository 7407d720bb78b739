#include "db/pool.h"

#include <algorithm>

#include <pqxx/pqxx>

#include "absl/strings/str_cat.h"
#include "base/logging.h"
#include "base/status.h"
#include "db/error.h"
#include "db/liveness.h"
#include "db/queries.h"

namespace finetuned {

namespace {

constexpr int kMaxTransactionTries = 5;
constexpr absl::Duration kLongestPlanLife = absl::Minutes(10);

// A transaction that begins with a prelude; libpqxx's own would send BEGIN alone.
absl::Status RunTransaction(pqxx::connection& session, const Prelude& prelude,
                            const Pool::BodyAfter& body) {
  // Does nothing where they are; libpqxx prepares at the first use that it sees.
  for (const Query* query : prelude.queries()) session.prepare_now(query->name);
  pqxx::nontransaction work(session);
  FT_RETURN_IF_ERROR(body(work, work.exec(prelude.text())));
  try {
    work.exec("commit");
  } catch (const pqxx::statement_completion_unknown& error) {
    throw pqxx::in_doubt_error(error.what());
  } catch (const std::exception& error) {
    if (session.is_open()) throw;
    // The server may have committed before.
    throw pqxx::in_doubt_error(error.what());
  }
  return absl::OkStatus();
}

}  // namespace

class Connection {
 public:
  explicit Connection(const Pool::Options& options)
      : session_(WithLiveness(options.database_url)),
        opened_(RealClock::Get().SinceBoot()),
        plan_life_(options.first_plan_life) {
    // Without this libpqxx reconnects by itself, silently, to whatever server answers.
    session_.inhibit_reactivation(true);
    pqxx::nontransaction setup(session_);
    setup.exec(absl::StrCat(
        "set statement_timeout = ", absl::ToInt64Milliseconds(options.statement_timeout),
        "; set lock_timeout = ", absl::ToInt64Milliseconds(options.lock_timeout),
        "; set idle_in_transaction_session_timeout = 30000; set search_path = public"
        "; set timezone = 'UTC'; set application_name = 'finetuned'"
        "; set client_min_messages = warning; set jit = off"
        // A plan is made while a table is small and kept while it grows: it must not be one that
        // reads all of it where there is an index.
        "; set enable_seqscan = off"));
    const auto in_recovery = setup.exec1("select pg_is_in_recovery()");
    if (in_recovery[0].as<bool>()) throw pqxx::broken_connection("the server is a standby");
    setup.commit();
    for (const Query* query : kAllQueries) session_.prepare(query->name, query->sql);
  }

  // Plans are kept for as long as the statistics of their tables stand, and those of a new
  // installation say that all is empty, while thousands of rows come. So young plans are made anew
  // now and then: the size that a table has is looked at then.
  void RenewPlans() {
    const absl::Duration now = RealClock::Get().SinceBoot();
    if (now < planned_ + plan_life_) return;
    pqxx::nontransaction(session_).exec("discard plans");
    planned_ = now;
    plan_life_ = std::min(2 * plan_life_, kLongestPlanLife);
  }

  // Leaves a transaction that failed; returns whether the connection is of use after it.
  bool Rollback() {
    try {
      pqxx::nontransaction(session_).exec("rollback");
      return true;
    } catch (const std::exception&) {
      return false;
    }
  }

  pqxx::connection& session() { return session_; }
  absl::Duration opened() const { return opened_; }

 private:
  pqxx::connection session_;
  absl::Duration opened_;
  absl::Duration planned_ = opened_;
  absl::Duration plan_life_;
};

Pool::Pool(Options options) : options_(std::move(options)) {}
Pool::~Pool() = default;

absl::Status Pool::Acquire(std::unique_ptr<Connection>* connection) {
  {
    MutexLock lock(mutex_);
    const absl::Duration deadline = RealClock::Get().SinceBoot() + options_.acquire_timeout;
    while (in_use_ >= options_.max_connections) {
      const absl::Duration left = deadline - RealClock::Get().SinceBoot();
      if (left <= absl::ZeroDuration()) {
        return UnavailableError("DATABASE_BUSY", "all connections to the database are in use",
                                absl::Seconds(1));
      }
      freed_.WaitFor(mutex_, left);
    }
    ++in_use_;
    if (!idle_.empty()) {
      *connection = std::move(idle_.back());
      idle_.pop_back();
    }
  }
  if (*connection != nullptr &&
      RealClock::Get().SinceBoot() - (*connection)->opened() > options_.max_age) {
    connection->reset();
  }
  return absl::OkStatus();
}

void Pool::Release(std::unique_ptr<Connection> connection, bool broken) {
  // Closed after the lock is given back.
  std::vector<std::unique_ptr<Connection>> doubtful;
  MutexLock lock(mutex_);
  --in_use_;
  // Those that wait were most likely lost with it: each would cost its next user an error.
  if (broken) doubtful.swap(idle_);
  if (connection != nullptr) idle_.push_back(std::move(connection));
  freed_.NotifyOne();
}

absl::Status Pool::RunOnce(const char* name, const Prelude* prelude, const BodyAfter& body) {
  std::unique_ptr<Connection> connection;
  FT_RETURN_IF_ERROR(Acquire(&connection));
  absl::Status status;
  // Exceptions of libpqxx, and of the conversions in `body`, end here.
  try {
    if (connection == nullptr) {
      connection = std::make_unique<Connection>(options_);
    } else {
      connection->RenewPlans();
    }
    if (prelude == nullptr) {
      pqxx::nontransaction work(connection->session());
      status = body(work, {});
    } else {
      status = RunTransaction(connection->session(), *prelude, body);
    }
  } catch (...) {
    status = TranslateCurrentException(name);
  }
  bool broken = BreaksConnection(status);
  if (!status.ok() && !broken && prelude != nullptr && connection != nullptr) {
    broken = !connection->Rollback();
  }
  if (broken) connection.reset();
  Release(std::move(connection), broken);
  return status;
}

absl::Status Pool::Run(const char* name, const Prelude* prelude, const BodyAfter& body) {
  const absl::Duration start = RealClock::Get().SinceBoot();
  absl::Status status;
  for (int i = 0; i < kMaxTransactionTries; ++i) {
    status = RunOnce(name, prelude, body);
    if (!IsConflict(status)) break;
  }
  if (options_.observer != nullptr) {
    options_.observer->TransactionEnded(name, RealClock::Get().SinceBoot() - start, status.ok());
  }
  if (status.code() == absl::StatusCode::kInternal) {
    Log(LogLevel::kError, "database error", {{"transaction", name}, {"error", status}});
  }
  return status;
}

absl::Status Pool::Transact(const char* name, const Prelude& prelude, const BodyAfter& body) {
  return Run(name, &prelude, body);
}

absl::Status Pool::Transact(const char* name, const Body& body) {
  return Transact(name, Prelude(),
                  [&body](pqxx::transaction_base& tx, const pqxx::result&) { return body(tx); });
}

absl::Status Pool::Read(const char* name, const Body& body) {
  return Run(name, nullptr,
             [&body](pqxx::transaction_base& tx, const pqxx::result&) { return body(tx); });
}

}  // namespace finetuned
