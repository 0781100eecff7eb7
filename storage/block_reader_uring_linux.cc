// Reads through io_uring: registered files, registered memory where the user may
// lock it, one system call to submit many reads and to wait for any.
//
// The ring is made disabled and enabled by the first call of the thread that
// owns the reader, since with SINGLE_ISSUER no other thread may use it after.
#include <liburing.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status.h"
#include "storage/block_reader_backends.h"

namespace sluice {
namespace {

constexpr uint64_t kWakeTag = std::numeric_limits<uint64_t>::max();
// The kernel takes registered buffers of at most 1 GiB each.
constexpr size_t kMaxBufferBytes = size_t{1} << 30;
// Times that a full kernel is asked again before it is called broken.
constexpr int kMaxBusy = 10000;

absl::Status RingError(int error, absl::string_view what) {
  return absl::UnavailableError(
      absl::StrCat("io_uring ", what, ": ", std::strerror(error), "; use --io pread or --io auto"));
}

class UringReader final : public BlockReader {
 public:
  UringReader(std::vector<DirectFile>* files, int capacity)
      : direct_io_(AllDirect(*files)), alignment_bytes_(CommonAlignment(*files)), capacity_(capacity) {}
  // Sets up everything; takes the files over when it succeeds.
  absl::Status Init(std::vector<DirectFile>* files);
  ~UringReader() override;

  absl::string_view name() const override { return "uring"; }
  bool direct_io() const override { return direct_io_; }
  uint32_t alignment_bytes() const override { return alignment_bytes_; }
  int capacity() const override { return capacity_; }
  absl::Status Submit(absl::Span<const BlockRead> reads) override;
  absl::StatusOr<size_t> Reap(absl::Span<BlockCompletion> out) override;
  void Wake() override;
  void RegisterMemory(absl::Span<const absl::Span<uint8_t>> regions) override;

 private:
  absl::Status InitRing();
  absl::Status CheckSupport();
  // The first call of the owner enables the ring.
  absl::Status Own();
  void Prepare(const BlockRead& read);
  void ArmWake();
  // Moves completions to `out`; says whether the wake-up was among them.
  size_t Drain(absl::Span<BlockCompletion> out, bool* woken);
  // Index of the registered buffer that holds all of the bytes, or -1.
  int BufferOf(const void* data, size_t bytes) const;

  const bool direct_io_;
  const uint32_t alignment_bytes_;
  const int capacity_;
  std::vector<DirectFile> files_;
  bool files_registered_ = false;
  io_uring ring_ = {};
  bool has_ring_ = false;
  bool enabled_ = false;
  std::vector<iovec> buffers_;  // registered, ascending addresses
  int wake_fd_ = -1;
  bool wake_armed_ = false;
  uint64_t wake_count_ = 0;  // the kernel writes it
};

absl::Status UringReader::Init(std::vector<DirectFile>* files) {
  RETURN_IF_ERROR(InitRing());
  RETURN_IF_ERROR(CheckSupport());
  wake_fd_ = eventfd(0, EFD_CLOEXEC);
  if (wake_fd_ < 0) return RingError(errno, "cannot make an eventfd");
  files_ = std::move(*files);
  std::vector<int> fds;
  for (const DirectFile& file : files_) fds.push_back(file.fd());
  files_registered_ = io_uring_register_files(&ring_, fds.data(), static_cast<unsigned>(fds.size())) == 0;
  return absl::OkStatus();
}

absl::Status UringReader::InitRing() {
  unsigned flag_sets[] = {
#if defined(IORING_SETUP_SINGLE_ISSUER) && defined(IORING_SETUP_DEFER_TASKRUN)
    IORING_SETUP_R_DISABLED | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
#endif
    IORING_SETUP_R_DISABLED,
    0
  };
  int rc = -EINVAL;
  for (const unsigned flags : flag_sets) {
    io_uring_params params = {};
    params.flags = flags;
    rc = io_uring_queue_init_params(static_cast<unsigned>(capacity_) + 1, &ring_, &params);
    has_ring_ = rc == 0;
    enabled_ = (flags & IORING_SETUP_R_DISABLED) == 0;
    if (rc != -EINVAL) break;  // only an unknown flag is worth another try
  }
  return rc == 0 ? absl::OkStatus() : RingError(-rc, "is not available here");
}

absl::Status UringReader::CheckSupport() {
  io_uring_probe* probe = io_uring_get_probe_ring(&ring_);
  const bool supported = probe != nullptr && io_uring_opcode_supported(probe, IORING_OP_READ) &&
                         io_uring_opcode_supported(probe, IORING_OP_READ_FIXED);
  if (probe != nullptr) io_uring_free_probe(probe);
  return supported ? absl::OkStatus() : RingError(ENOSYS, "of this kernel lacks reads");
}

UringReader::~UringReader() {
  if (has_ring_) io_uring_queue_exit(&ring_);
  if (wake_fd_ >= 0) close(wake_fd_);
}

absl::Status UringReader::Own() {
  if (enabled_) return absl::OkStatus();
  // Not io_uring_enable_rings: liburing 2.3 declares it and does not export it.
  const long rc = syscall(SYS_io_uring_register, ring_.ring_fd, IORING_REGISTER_ENABLE_RINGS, nullptr, 0);
  if (rc < 0) return RingError(errno, "cannot be enabled");
  enabled_ = true;
  return absl::OkStatus();
}

void UringReader::Prepare(const BlockRead& read) {
  SLUICE_CHECK(read.tag != kWakeTag && read.bytes <= static_cast<uint32_t>(std::numeric_limits<int32_t>::max()));
  io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
  SLUICE_CHECK(sqe != nullptr);  // more reads than capacity()
  const int file = files_registered_ ? read.file : files_[read.file].fd();
  const int buffer = BufferOf(read.destination, read.bytes);
  if (buffer >= 0) {
    io_uring_prep_read_fixed(sqe, file, read.destination, read.bytes, read.offset, buffer);
  } else {
    io_uring_prep_read(sqe, file, read.destination, read.bytes, read.offset);
  }
  if (files_registered_) sqe->flags |= IOSQE_FIXED_FILE;
  io_uring_sqe_set_data64(sqe, read.tag);
}

absl::Status UringReader::Submit(absl::Span<const BlockRead> reads) {
  RETURN_IF_ERROR(Own());
  for (const BlockRead& read : reads) Prepare(read);
  for (int busy = 0; io_uring_sq_ready(&ring_) > 0;) {
    const int rc = io_uring_submit(&ring_);
    if (rc > 0) continue;
    const bool worth_retrying = rc == 0 || rc == -EINTR || rc == -EAGAIN || rc == -EBUSY;
    if (!worth_retrying || ++busy > kMaxBusy) return RingError(-rc, "cannot submit reads");
  }
  return absl::OkStatus();
}

void UringReader::ArmWake() {
  if (wake_armed_) return;
  io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
  SLUICE_CHECK(sqe != nullptr);
  io_uring_prep_read(sqe, wake_fd_, &wake_count_, sizeof(wake_count_), 0);
  io_uring_sqe_set_data64(sqe, kWakeTag);
  wake_armed_ = true;
}

size_t UringReader::Drain(absl::Span<BlockCompletion> out, bool* woken) {
  size_t count = 0;
  io_uring_cqe* cqe = nullptr;
  while (count < out.size() && io_uring_peek_cqe(&ring_, &cqe) == 0) {
    const uint64_t tag = cqe->user_data;
    if (tag == kWakeTag) {
      *woken = true;
      wake_armed_ = false;
    } else {
      out[count++] = {tag, cqe->res};
    }
    io_uring_cqe_seen(&ring_, cqe);
  }
  return count;
}

absl::StatusOr<size_t> UringReader::Reap(absl::Span<BlockCompletion> out) {
  RETURN_IF_ERROR(Own());
  for (int busy = 0;;) {
    bool woken = false;
    const size_t count = Drain(out, &woken);
    if (count > 0 || woken) return count;
    ArmWake();
    const int rc = io_uring_submit_and_wait(&ring_, 1);
    if (rc >= 0 || rc == -EINTR) continue;
    if ((rc != -EAGAIN && rc != -EBUSY) || ++busy > kMaxBusy) return RingError(-rc, "cannot wait for reads");
  }
}

void UringReader::Wake() {
  const uint64_t one = 1;
  // The counter cannot overflow, so the write cannot fail.
  SLUICE_CHECK(write(wake_fd_, &one, sizeof(one)) == sizeof(one));
}

void UringReader::RegisterMemory(absl::Span<const absl::Span<uint8_t>> regions) {
  if (!Own().ok()) return;
  if (!buffers_.empty()) io_uring_unregister_buffers(&ring_);
  buffers_.clear();
  for (absl::Span<uint8_t> region : regions) {
    while (!region.empty()) {
      const size_t bytes = std::min(region.size(), kMaxBufferBytes);
      buffers_.push_back({region.data(), bytes});
      region.remove_prefix(bytes);
    }
  }
  if (buffers_.empty()) return;
  std::sort(buffers_.begin(), buffers_.end(), [](const iovec& a, const iovec& b) { return a.iov_base < b.iov_base; });
  const int rc = io_uring_register_buffers(&ring_, buffers_.data(), static_cast<unsigned>(buffers_.size()));
  if (rc != 0) buffers_.clear();  // e.g. the limit on locked memory: reads work all the same
}

int UringReader::BufferOf(const void* data, size_t bytes) const {
  const auto after = std::upper_bound(buffers_.begin(), buffers_.end(), data,
                                      [](const void* value, const iovec& buffer) { return value < buffer.iov_base; });
  if (after == buffers_.begin()) return -1;
  const iovec& buffer = *(after - 1);
  const size_t offset = static_cast<size_t>(static_cast<const char*>(data) - static_cast<const char*>(buffer.iov_base));
  if (offset > buffer.iov_len || bytes > buffer.iov_len - offset) return -1;
  return static_cast<int>(after - 1 - buffers_.begin());
}

}  // namespace

absl::StatusOr<std::unique_ptr<BlockReader>> MakeUringReader(std::vector<DirectFile>* files, int capacity) {
  auto reader = std::make_unique<UringReader>(files, capacity);
  RETURN_IF_ERROR(reader->Init(files));
  return reader;
}

}  // namespace sluice
