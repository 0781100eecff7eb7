#include "storage/faulty_block_reader.h"

#include <algorithm>
#include <cstring>

#include "base/status.h"

namespace sluice {

FaultyBlockReader::FaultyBlockReader(std::unique_ptr<BlockReader> reader, const FaultScript& script)
    : ForwardingBlockReader(std::move(reader)), script_(script), random_(script.seed) {
  held_.reserve(capacity());
  arrivals_.resize(capacity());
}

absl::Status FaultyBlockReader::Submit(absl::Span<const BlockRead> reads) {
  if (script_.break_submit != 0 && ++submits_ >= script_.break_submit) {
    return absl::UnavailableError("the reader refuses reads on purpose");
  }
  for (const BlockRead& read : reads) {
    const uint64_t number = reads_.fetch_add(1, std::memory_order_relaxed) + 1;
    flying_[read.tag] = {read, number};
  }
  return reader().Submit(reads);
}

absl::StatusOr<size_t> FaultyBlockReader::Reap(absl::Span<BlockCompletion> out) {
  if (script_.break_reap != 0 && ++reaps_ >= script_.break_reap) {
    return absl::UnavailableError("the reader refuses to reap on purpose");
  }
  for (;;) {
    const bool enough = (held_.size() > script_.hold_back || flying_.empty()) && !Stalls();
    stalled_reads_.store(Stalls() ? held_.size() + flying_.size() : 0, std::memory_order_relaxed);
    if (enough && !held_.empty()) return Release(out);
    ASSIGN_OR_RETURN(const size_t count, reader().Reap(absl::MakeSpan(arrivals_)));
    if (count == 0) return 0;  // woken; what is held stays held
    for (size_t i = 0; i < count; ++i) {
      const auto flying = flying_.find(arrivals_[i].tag);
      held_.push_back(Spoil(flying->second, arrivals_[i].result));
      flying_.erase(flying);
    }
  }
}

void FaultyBlockReader::EndStall() {
  stall_ended_.store(true);
  reader().Wake();
}

bool FaultyBlockReader::Fails(const Flying& flying) {
  if (script_.fail_read == 0) return false;
  const BlockRead& read = flying.read;
  if (flying.number == script_.fail_read) {
    failed_file_.store(read.file, std::memory_order_relaxed);
    failed_offset_.store(read.offset, std::memory_order_relaxed);
    return true;
  }
  const uint64_t bad = failed_offset();
  return script_.persistent && read.file == failed_file() && bad >= read.offset && bad - read.offset < read.bytes;
}

BlockCompletion FaultyBlockReader::Spoil(const Flying& flying, int32_t result) {
  const BlockRead& read = flying.read;
  if (Fails(flying)) {
    errors_.fetch_add(1, std::memory_order_relaxed);
    std::memset(read.destination, 0xDB, read.bytes);
    return {read.tag, -script_.error};
  }
  if (script_.shorten_every != 0 && flying.number % script_.shorten_every == 0 && result > 1) {
    shortened_.fetch_add(1, std::memory_order_relaxed);
    const int32_t kept = 1 + static_cast<int32_t>(random_() % static_cast<uint64_t>(result - 1));
    std::memset(static_cast<uint8_t*>(read.destination) + kept, 0xDB, read.bytes - static_cast<uint32_t>(kept));
    result = kept;
  }
  return {read.tag, result};
}

size_t FaultyBlockReader::Release(absl::Span<BlockCompletion> out) {
  size_t count = std::min(out.size(), held_.size());
  if (script_.hold_back == 0) {
    std::copy_n(held_.begin(), count, out.begin());
    held_.erase(held_.begin(), held_.begin() + static_cast<ptrdiff_t>(count));
    return count;
  }
  count = 1 + random_() % count;
  for (size_t i = 0; i < count; ++i) {
    const size_t pick = random_() % held_.size();
    if (pick != 0) reordered_.fetch_add(1, std::memory_order_relaxed);
    out[i] = held_[pick];
    held_.erase(held_.begin() + static_cast<ptrdiff_t>(pick));
  }
  return count;
}

}  // namespace sluice
