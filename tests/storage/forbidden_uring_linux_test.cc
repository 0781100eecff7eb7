// In a program of its own: the filter that forbids io_uring stays for good.
#include <doctest/doctest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <cerrno>

#include "tests/storage/scratch_files.h"

namespace sluice {
namespace {

bool ForbidUring() {
  sock_filter rules[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program = {sizeof(rules) / sizeof(rules[0]), rules};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

TEST_CASE("where io_uring is forbidden auto falls back to pread and uring says what to do") {
  if (!ForbidUring()) {
    MESSAGE("SKIP: no filter for system calls can be set here");
    return;
  }
  const ScratchFiles files({4096});
  CHECK(OpenOrDie(IoBackend::kAuto, files.paths(), 4)->name() == "pread");
  const auto uring = OpenBlockReader(IoBackend::kUring, files.paths(), 4);
  REQUIRE_FALSE(uring.ok());
  CHECK(uring.status().message() ==
        "io_uring is not available here: Operation not permitted; use --io pread or --io auto");
}

}  // namespace
}  // namespace sluice
