#include "tests/bench/raw_tcp.h"

#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <array>
#include <string>
#include <thread>
#include <vector>

#include "absl/types/span.h"
#include "artifacts/beneath.h"
#include "base/clock.h"
#include "tests/bench/require.h"

namespace finetuned::bench {
namespace {

// Both ends of connections over loopback.
struct Pairs {
  std::vector<OwnedFd> writers, readers;
};

Pairs Connect(int count) {
  const OwnedFd listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof(address);
  auto* const generic = reinterpret_cast<sockaddr*>(&address);
  Require(bind(listener.get(), generic, length) == 0 && listen(listener.get(), 16) == 0 &&
              getsockname(listener.get(), generic, &length) == 0,
          "no socket");
  Pairs pairs;
  for (int i = 0; i < count; ++i) {
    pairs.writers.emplace_back(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    Require(connect(pairs.writers.back().get(), generic, length) == 0, "no connection");
    pairs.readers.emplace_back(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    Require(pairs.readers.back().get() >= 0, "no connection");
  }
  return pairs;
}

// Until all have ended.
void ReadAll(absl::Span<const OwnedFd> readers) {
  const OwnedFd poll(epoll_create1(EPOLL_CLOEXEC));
  for (const OwnedFd& reader : readers) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = reader.get();
    Require(epoll_ctl(poll.get(), EPOLL_CTL_ADD, reader.get(), &event) == 0, "no epoll");
  }
  std::array<epoll_event, 256> ready;
  std::vector<char> buffer(64 * 1024);
  for (size_t open = readers.size(); open > 0;) {
    const int count = epoll_wait(poll.get(), ready.data(), ready.size(), -1);
    for (int i = 0; i < count; ++i) {
      const int fd = ready[static_cast<size_t>(i)].data.fd;
      if (read(fd, buffer.data(), buffer.size()) > 0) continue;
      epoll_ctl(poll.get(), EPOLL_CTL_DEL, fd, nullptr);
      --open;
    }
  }
}

}  // namespace

double RawTcpWrites(int connections, size_t bytes, absl::Duration time) {
  Pairs pairs = Connect(connections);
  std::thread reader([&pairs] { ReadAll(pairs.readers); });
  const std::string text(bytes, 'x');
  const absl::Time begin = RealClock::Get().Now();
  double writes = 0;
  while (RealClock::Get().Now() < begin + time) {
    for (const OwnedFd& writer : pairs.writers) {
      Require(write(writer.get(), text.data(), bytes) == static_cast<ssize_t>(bytes), "no write");
      ++writes;
    }
  }
  pairs.writers.clear();
  reader.join();
  return writes / absl::ToDoubleSeconds(RealClock::Get().Now() - begin);
}

}  // namespace finetuned::bench
