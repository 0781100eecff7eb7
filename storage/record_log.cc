#include "storage/record_log.h"

#include <xxhash.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/types/optional.h"
#include "base/check.h"
#include "base/checked_math.h"
#include "base/status.h"
#include "storage/file_calls.h"
#include "storage/packed_fields.h"

namespace sluice {
namespace {

constexpr uint64_t kMagicBytes = 8;
constexpr uint64_t kFileHeaderBytes = 40;
constexpr uint64_t kRecordHeaderBytes = 32;
constexpr uint64_t kAlignment = 8;

uint64_t Hash(absl::string_view bytes) { return XXH3_64bits(bytes.data(), bytes.size()); }

// Of a record's header without its own checksum.
uint64_t HeaderHash(absl::string_view fields, uint64_t offset, uint64_t salt) {
  std::string bytes(fields);
  AppendField(&bytes, offset);
  AppendField(&bytes, salt);
  return Hash(bytes);
}

std::string FileHeader(absl::string_view magic, uint32_t version, uint64_t salt, uint64_t sealed_bytes) {
  std::string header(magic);
  AppendField(&header, version);
  AppendField(&header, uint32_t{0});
  AppendField(&header, salt);
  AppendField(&header, sealed_bytes);
  AppendField(&header, Hash(header));
  return header;
}

// Unlike that of any log whose bytes may lie around on the drive.
uint64_t NewSalt(const std::string& path) {
  std::string seed = path;
  AppendField(&seed, static_cast<int64_t>(std::chrono::system_clock::now().time_since_epoch().count()));
  AppendField(&seed, static_cast<int64_t>(std::chrono::steady_clock::now().time_since_epoch().count()));
  return Hash(seed);
}

struct RecordHeader {
  uint32_t payload_bytes = 0;
  uint32_t type = 0;
  uint64_t synced_bytes = 0;
  uint64_t payload_hash = 0;

  uint64_t padded_bytes() const { return AlignUp(payload_bytes, kAlignment); }
};

// Nothing when these are not the bytes of a header at `offset`.
absl::optional<RecordHeader> ParseRecordHeader(absl::string_view bytes, uint64_t offset, uint64_t salt) {
  if (bytes.size() < kRecordHeaderBytes) return absl::nullopt;
  PackedReader reader(bytes.substr(0, kRecordHeaderBytes));
  RecordHeader header;
  header.payload_bytes = reader.Take<uint32_t>();
  header.type = reader.Take<uint32_t>();
  header.synced_bytes = reader.Take<uint64_t>();
  header.payload_hash = reader.Take<uint64_t>();
  if (header.payload_bytes > RecordLog::kLargestPayloadBytes || header.synced_bytes > offset) return absl::nullopt;
  const uint64_t hash = HeaderHash(bytes.substr(0, kRecordHeaderBytes - sizeof(uint64_t)), offset, salt);
  if (hash != reader.Take<uint64_t>()) return absl::nullopt;
  return header;
}

// A file's bytes, read a stretch at a time.
class Window {
 public:
  explicit Window(const DurableFile* file) : file_(file) {}

  // Fewer at the file's end. Valid until the next call.
  absl::StatusOr<absl::string_view> At(uint64_t offset, uint64_t bytes) {
    if (offset < begin_ || offset + bytes > begin_ + held_.size()) {
      ASSIGN_OR_RETURN(held_, file_->ReadAt(offset, std::max(bytes, RecordLog::kBufferBytes)));
      begin_ = offset;
    }
    return absl::string_view(held_).substr(offset - begin_, bytes);
  }

 private:
  const DurableFile* file_;
  uint64_t begin_ = 0;
  std::string held_;
};

class LogReader {
 public:
  LogReader(const DurableFile* file, const std::string& path, const RecordLogFormat& format)
      : window_(file), path_(path), format_(format), size_bytes_(file->size_bytes()) {}

  absl::Status ReadFileHeader() {
    ASSIGN_OR_RETURN(const absl::string_view bytes, window_.At(0, kFileHeaderBytes));
    if (bytes.substr(0, kMagicBytes) != format_.magic) {
      return absl::FailedPreconditionError(absl::StrCat(path_, " is not ", format_.name, "; ", format_.cure));
    }
    PackedReader reader(bytes.substr(kMagicBytes));
    const uint32_t version = reader.Take<uint32_t>();
    if (reader.ok() && version != format_.version) {
      return absl::FailedPreconditionError(absl::StrCat(path_, " is of version ", version, " and this program reads ",
                                                        format_.version, "; use the program that wrote it, or ",
                                                        format_.cure));
    }
    reader.Take<uint32_t>();
    salt_ = reader.Take<uint64_t>();
    sealed_bytes_ = reader.Take<uint64_t>();
    const uint64_t hash = reader.Take<uint64_t>();
    if (!reader.ok() || hash != Hash(bytes.substr(0, kFileHeaderBytes - sizeof(hash)))) return Damaged(0, "");
    if (sealed_bytes_ > size_bytes_) return Damaged(size_bytes_, absl::StrCat("it ends before ", sealed_bytes_));
    return absl::OkStatus();
  }

  absl::StatusOr<uint64_t> ReadRecords(RecordLog::Visit visit) {
    uint64_t offset = kFileHeaderBytes;
    while (offset < size_bytes_) {
      ASSIGN_OR_RETURN(const absl::optional<RecordHeader> header, HeaderAt(offset));
      if (!header) break;
      ASSIGN_OR_RETURN(const absl::string_view payload,
                       window_.At(offset + kRecordHeaderBytes, header->padded_bytes()));
      if (payload.size() != header->padded_bytes() || Hash(payload) != header->payload_hash) break;
      const absl::Status status = visit(header->type, payload.substr(0, header->payload_bytes));
      if (!status.ok()) return Damaged(offset, status.message());
      offset += kRecordHeaderBytes + header->padded_bytes();
    }
    RETURN_IF_ERROR(CheckNeverSynced(offset));
    return size_bytes_ - offset;
  }

 private:
  absl::StatusOr<absl::optional<RecordHeader>> HeaderAt(uint64_t offset) {
    ASSIGN_OR_RETURN(const absl::string_view bytes, window_.At(offset, kRecordHeaderBytes));
    return ParseRecordHeader(bytes, offset, salt_);
  }

  // Whether the bytes from `offset` on, which do not check, may be a torn tail.
  absl::Status CheckNeverSynced(uint64_t offset) {
    if (offset < sealed_bytes_) return Damaged(offset, "");
    for (uint64_t later = offset; later + kRecordHeaderBytes <= size_bytes_; later += kAlignment) {
      ASSIGN_OR_RETURN(const absl::optional<RecordHeader> header, HeaderAt(later));
      if (header && header->synced_bytes > offset) return Damaged(offset, "");
    }
    return absl::OkStatus();
  }

  absl::Status Damaged(uint64_t offset, absl::string_view detail) const {
    return absl::DataLossError(
        absl::StrCat(path_, " is damaged at offset ", offset, detail.empty() ? "" : ": ", detail, "; ", format_.cure));
  }

  Window window_;
  const std::string& path_;
  const RecordLogFormat& format_;
  const uint64_t size_bytes_;
  uint64_t salt_ = 0;
  uint64_t sealed_bytes_ = 0;
};

}  // namespace

absl::StatusOr<uint64_t> RecordLog::Read(DurableFiles* files, const std::string& path, const RecordLogFormat& format,
                                         Visit visit) {
  ASSIGN_OR_RETURN(const std::unique_ptr<const DurableFile> file, files->OpenRead(path));
  LogReader reader(file.get(), path, format);
  RETURN_IF_ERROR(reader.ReadFileHeader());
  return reader.ReadRecords(visit);
}

absl::StatusOr<std::unique_ptr<RecordLog>> RecordLog::Create(DurableFiles* files, const std::string& path,
                                                             const RecordLogFormat& format) {
  SLUICE_CHECK(format.magic.size() == kMagicBytes);
  ASSIGN_OR_RETURN(std::unique_ptr<DurableFile> file, files->OpenAppend(path + ".new"));
  if (file->size_bytes() > 0) RETURN_IF_ERROR(file->Truncate(0));
  return std::unique_ptr<RecordLog>(new RecordLog(files, path, format, NewSalt(path), std::move(file)));
}

RecordLog::RecordLog(DurableFiles* files, std::string path, const RecordLogFormat& format, uint64_t salt,
                     std::unique_ptr<DurableFile> file)
    : files_(files),
      path_(std::move(path)),
      magic_(format.magic),
      version_(format.version),
      salt_(salt),
      file_(std::move(file)),
      buffer_(kFileHeaderBytes, '\0') {}

absl::Status RecordLog::Seal() {
  SLUICE_CHECK(synced_bytes_ == 0);
  RETURN_IF_ERROR(Flush());
  const std::string header = FileHeader(magic_, version_, salt_, flushed_bytes_);
  RETURN_IF_ERROR(file_->WriteAt(0, {reinterpret_cast<const uint8_t*>(header.data()), header.size()}));
  RETURN_IF_ERROR(Sync());
  RETURN_IF_ERROR(files_->Rename(path_ + ".new", path_));
  has_name_ = true;
  failed_ = files_->SyncFolder(FolderOf(path_));
  return failed_;
}

absl::Status RecordLog::Append(uint32_t type, absl::string_view payload) {
  RETURN_IF_ERROR(failed_);
  SLUICE_CHECK(payload.size() <= kLargestPayloadBytes);
  const uint64_t padded_bytes = AlignUp(payload.size(), kAlignment);
  if (buffer_.size() + kRecordHeaderBytes + padded_bytes > kBufferBytes) RETURN_IF_ERROR(Flush());
  std::string padded(payload);
  padded.resize(padded_bytes);
  std::string header;
  AppendField(&header, static_cast<uint32_t>(payload.size()));
  AppendField(&header, type);
  AppendField(&header, synced_bytes_);
  AppendField(&header, Hash(padded));
  AppendField(&header, HeaderHash(header, flushed_bytes_ + buffer_.size(), salt_));
  absl::StrAppend(&buffer_, header, padded);
  return absl::OkStatus();
}

// Whatever a failed write left behind the sound length goes first.
absl::Status RecordLog::Flush() {
  if (buffer_.empty()) return absl::OkStatus();
  if (file_->size_bytes() > flushed_bytes_) RETURN_IF_ERROR(file_->Truncate(flushed_bytes_));
  const absl::Status status = file_->Append(buffer_);
  if (!status.ok()) {
    if (file_->size_bytes() > flushed_bytes_) file_->Truncate(flushed_bytes_).IgnoreError();
    return status;
  }
  flushed_bytes_ += buffer_.size();
  buffer_.clear();
  return absl::OkStatus();
}

absl::Status RecordLog::Sync() {
  RETURN_IF_ERROR(failed_);
  RETURN_IF_ERROR(Flush());
  if (synced_bytes_ == flushed_bytes_) return absl::OkStatus();
  failed_ = file_->Sync();
  if (failed_.ok()) synced_bytes_ = flushed_bytes_;
  return failed_;
}

}  // namespace sluice
