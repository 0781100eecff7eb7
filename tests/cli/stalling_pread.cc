// Put before the C library (LD_PRELOAD): a drive that stalls for as long as the
// file named by STALL_WHILE exists. The first read to stall creates its
// neighbour "NAME.reached". Only long reads stall: weights, not headers.
#include <dlfcn.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/types.h>
#include <unistd.h>

#include <string>

extern "C" ssize_t pread64(int fd, void* buffer, size_t bytes, off_t offset) {
  using Pread = ssize_t (*)(int, void*, size_t, off_t);
  static const Pread real = reinterpret_cast<Pread>(dlsym(RTLD_NEXT, "pread64"));
  static const char* const name = getenv("STALL_WHILE");
  constexpr size_t kLongBytes = 16384;
  while (name != nullptr && bytes >= kLongBytes && access(name, F_OK) == 0) {
    close(open((std::string(name) + ".reached").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
    poll(nullptr, 0, 10);
  }
  return real(fd, buffer, bytes, offset);
}
