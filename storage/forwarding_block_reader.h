// A reader in front of another one, for those that watch or disturb what goes by:
// they override what they are about.
//
// Never maps: the point is that reads go through Submit.
#ifndef SLUICE_STORAGE_FORWARDING_BLOCK_READER_H_
#define SLUICE_STORAGE_FORWARDING_BLOCK_READER_H_

#include <memory>
#include <utility>

#include "storage/block_reader.h"

namespace sluice {

class ForwardingBlockReader : public BlockReader {
 public:
  explicit ForwardingBlockReader(std::shared_ptr<BlockReader> reader) : reader_(std::move(reader)) {}

  absl::string_view name() const override { return reader_->name(); }
  bool direct_io() const override { return reader_->direct_io(); }
  uint32_t alignment_bytes() const override { return reader_->alignment_bytes(); }
  int capacity() const override { return reader_->capacity(); }
  absl::Status Submit(absl::Span<const BlockRead> reads) override { return reader_->Submit(reads); }
  absl::StatusOr<size_t> Reap(absl::Span<BlockCompletion> out) override { return reader_->Reap(out); }
  void Wake() override { reader_->Wake(); }
  void RegisterMemory(absl::Span<const absl::Span<uint8_t>> regions) override { reader_->RegisterMemory(regions); }

 protected:
  BlockReader& reader() { return *reader_; }

 private:
  const std::shared_ptr<BlockReader> reader_;
};

}  // namespace sluice

#endif  // SLUICE_STORAGE_FORWARDING_BLOCK_READER_H_
