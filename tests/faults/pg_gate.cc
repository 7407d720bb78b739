#include "tests/faults/pg_gate.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>

#include "absl/strings/str_split.h"

namespace finetuned {
namespace {

constexpr char kSocketName[] = "/.s.PGSQL.5432";

[[noreturn]] void Die(const char* what) {
  perror(what);
  abort();
}

sockaddr_un Address(const std::string& path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) Die("a socket's path is too long");
  memcpy(address.sun_path, path.c_str(), path.size());
  return address;
}

bool WriteAll(int fd, const std::string& bytes) {
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t count = send(fd, bytes.data() + done, bytes.size() - done, MSG_NOSIGNAL);
    if (count <= 0) return false;
    done += static_cast<size_t>(count);
  }
  return true;
}

bool ReadAll(int fd, size_t count, std::string* bytes) {
  const size_t before = bytes->size();
  bytes->resize(before + count);
  for (size_t done = 0; done < count;) {
    const ssize_t got = recv(fd, bytes->data() + before + done, count - done, 0);
    if (got <= 0) return false;
    done += static_cast<size_t>(got);
  }
  return true;
}

uint32_t Length(const std::string& bytes, size_t at) {
  uint32_t length = 0;
  memcpy(&length, bytes.data() + at, sizeof length);
  return ntohl(length);
}

// One message, with its type and its length.
bool ReadMessage(int fd, std::string* message) {
  message->clear();
  if (!ReadAll(fd, 5, message)) return false;
  return ReadAll(fd, Length(*message, 1) - 4, message);
}

// The text that begins at a place and ends with a zero.
std::string TextAt(const std::string& message, size_t at) { return message.c_str() + at; }

constexpr size_t kBody = 5;

std::string MakeMessage(char type, const std::string& body) {
  const uint32_t length = htonl(static_cast<uint32_t>(body.size() + 4));
  std::string message(1, type);
  message.append(reinterpret_cast<const char*>(&length), sizeof length);
  return message + body;
}

}  // namespace

PgGate::PgGate(const std::string& server_folder, Mutation mutation, std::function<void()> on_change)
    : server_socket_(server_folder + kSocketName),
      mutation_(std::move(mutation)),
      on_change_(std::move(on_change)) {
  char pattern[] = "/tmp/finetuned-gate-XXXXXX";
  if (mkdtemp(pattern) == nullptr) Die("mkdtemp");
  folder_ = pattern;
  listener_ = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr_un address = Address(folder_ + kSocketName);
  if (bind(listener_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      listen(listener_, 8) != 0) {
    Die("listen");
  }
  acceptor_ = std::thread([this] { AcceptLoop(); });
}

PgGate::~PgGate() {
  std::vector<std::thread> threads;
  {
    MutexLock lock(mutex_);
    closing_ = true;
    changed_.NotifyAll();
    for (const Ends& ends : connections_) {
      shutdown(ends.client, SHUT_RDWR);
      shutdown(ends.server, SHUT_RDWR);
    }
    threads.swap(threads_);
  }
  shutdown(listener_, SHUT_RDWR);
  acceptor_.join();
  for (std::thread& thread : threads) thread.join();
  close(listener_);
  MutexLock lock(mutex_);
  for (const Ends& ends : connections_) {
    close(ends.client);
    close(ends.server);
  }
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

void PgGate::AcceptLoop() {
  while (true) {
    Ends ends;
    ends.client = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (ends.client < 0) return;
    ends.server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const sockaddr_un address = Address(server_socket_);
    if (connect(ends.server, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
      Die("connect to Postgres");
    }
    MutexLock lock(mutex_);
    if (closing_) return;
    connections_.push_back(ends);
    threads_.emplace_back([this, ends] { FromClient(ends); });
    threads_.emplace_back([this, ends] { FromServer(ends); });
  }
}

bool PgGate::WaitForGrant(const std::string& what) {
  {
    MutexLock lock(mutex_);
    waiting_ = what;
  }
  on_change_();
  MutexLock lock(mutex_);
  while (armed_ && !granted_ && !closing_) changed_.Wait(mutex_);
  waiting_.reset();
  granted_ = false;
  with_server_ = true;
  return !closing_;
}

std::string PgGate::Mutated(const std::string& parse) {
  const std::string name = TextAt(parse, kBody);
  const auto found = mutation_.find(name);
  if (found == mutation_.end()) return parse;
  const size_t text_at = kBody + name.size() + 1;
  const size_t rest_at = text_at + TextAt(parse, text_at).size() + 1;
  MutexLock lock(mutex_);
  ++mutations_made_;
  return MakeMessage('P', name + '\0' + found->second + '\0' + parse.substr(rest_at));
}

bool PgGate::PassQuery(const Ends& ends, const std::string& text) {
  // None of ours has a text with a semicolon in it.
  const std::vector<std::string> statements = absl::StrSplit(text, "; ");
  for (size_t i = 0; i < statements.size(); ++i) {
    const bool is_last = i + 1 == statements.size();
    if (!WaitForGrant(statements[i])) return false;
    {
      MutexLock lock(mutex_);
      kept_back_ = !is_last;
      failed_ = false;
    }
    if (!WriteAll(ends.server, MakeMessage('Q', statements[i] + '\0'))) return false;
    if (is_last) break;
    MutexLock lock(mutex_);
    while (with_server_ && !closing_) changed_.Wait(mutex_);
    if (failed_ || closing_) break;
  }
  return true;
}

void PgGate::FromClient(Ends ends) {
  // The startup message has no type.
  std::string startup;
  if (!ReadAll(ends.client, 4, &startup) ||
      !ReadAll(ends.client, Length(startup, 0) - 4, &startup) || !WriteAll(ends.server, startup)) {
    return;
  }
  // What belongs together ends with a Sync; a simple query stands alone.
  std::string request, message, what;
  while (ReadMessage(ends.client, &message)) {
    const char type = message[0];
    if (type == 'P') message = Mutated(message);
    if (type == 'B') what = TextAt(message, kBody + TextAt(message, kBody).size() + 1);
    if (type == 'Q') {
      if (!PassQuery(ends, TextAt(message, kBody))) break;
      continue;
    }
    request += message;
    if (type != 'S') {
      if (type == 'X') break;
      continue;
    }
    if (!WaitForGrant(what) || !WriteAll(ends.server, request)) break;
    request.clear();
    what.clear();
  }
  shutdown(ends.server, SHUT_RDWR);
}

void PgGate::FromServer(Ends ends) {
  std::string message;
  while (ReadMessage(ends.server, &message)) {
    bool for_client;
    {
      MutexLock lock(mutex_);
      if (message[0] == 'E') failed_ = true;
      for_client = !kept_back_ || failed_;
      if (message[0] == 'Z') {
        with_server_ = false;
        changed_.NotifyAll();
      }
      if (message[0] == 'K') backend_pid_ = static_cast<int>(Length(message, kBody));
      if (message[0] == 'E') {
        // Fields, each with a letter before it; C is the SQLSTATE.
        for (size_t at = kBody; at < message.size() && message[at] != '\0';) {
          const std::string field = TextAt(message, at);
          if (field[0] == 'C') errors_.push_back(field.substr(1));
          at += field.size() + 1;
        }
      }
    }
    if (for_client && !WriteAll(ends.client, message)) break;
    if (for_client && message[0] == 'Z') on_change_();
  }
  {
    MutexLock lock(mutex_);
    with_server_ = false;
    changed_.NotifyAll();
  }
  shutdown(ends.client, SHUT_RDWR);
}

void PgGate::SetArmed(bool armed) {
  MutexLock lock(mutex_);
  armed_ = armed;
  changed_.NotifyAll();
}

std::optional<std::string> PgGate::waiting() const {
  MutexLock lock(mutex_);
  return waiting_;
}

void PgGate::Grant() {
  MutexLock lock(mutex_);
  granted_ = true;
  // Not in between: whoever looks must not take it for one that computes.
  waiting_.reset();
  with_server_ = true;
  changed_.NotifyAll();
}

bool PgGate::with_server() const {
  MutexLock lock(mutex_);
  return with_server_;
}

int PgGate::backend_pid() const {
  MutexLock lock(mutex_);
  return backend_pid_;
}

std::vector<std::string> PgGate::TakeErrors() {
  MutexLock lock(mutex_);
  std::vector<std::string> errors;
  errors.swap(errors_);
  return errors;
}

int PgGate::mutations_made() const {
  MutexLock lock(mutex_);
  return mutations_made_;
}

}  // namespace finetuned
