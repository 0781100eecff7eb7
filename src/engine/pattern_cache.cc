#include "src/engine/pattern_cache.h"

#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status.h"
#include "nlohmann/json.hpp"
#include "storage/file_writer.h"

namespace sluice {
namespace {

constexpr int kFormat = 1;
constexpr size_t kMostBytes = 4096;

// Empty when there is none, or one that is too long to be ours.
std::string ReadSmallFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::string text(kMostBytes + 1, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<size_t>(std::max<std::streamsize>(in.gcount(), 0)));
  return text.size() > kMostBytes ? "" : text;
}

// 0 when the object has no such number.
int64_t NumberOf(const nlohmann::json& json, const char* key) {
  const auto field = json.find(key);
  return field != json.end() && field->is_number_unsigned() ? field->get<int64_t>() : 0;
}

bool Says(const nlohmann::json& json, const char* key, absl::string_view text) {
  const auto field = json.find(key);
  return field != json.end() && field->is_string() && field->get_ref<const std::string&>() == text;
}

}  // namespace

absl::StatusOr<std::string> PatternCache::DriveOf(const std::string& path) {
  struct statvfs info;
  if (statvfs(path.c_str(), &info) != 0) {
    return absl::UnavailableError(absl::StrCat("cannot ask which drive ", path, " is on: ", std::strerror(errno)));
  }
  const uint64_t bytes = static_cast<uint64_t>(info.f_blocks) * static_cast<uint64_t>(info.f_frsize);
  return absl::StrFormat("%x-%x", static_cast<uint64_t>(info.f_fsid), bytes);
}

std::string PatternCache::FileOf(absl::string_view drive, absl::string_view io) const {
  return absl::StrCat(folder_, "/drive-", drive, "-", io, ".json");
}

absl::optional<ReadPattern> PatternCache::Find(const std::string& path, absl::string_view io) const {
  const absl::StatusOr<std::string> drive = DriveOf(path);
  if (!drive.ok()) return absl::nullopt;
  const std::string text = ReadSmallFile(FileOf(*drive, io));
  const nlohmann::json json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || NumberOf(json, "format") != kFormat) return absl::nullopt;
  if (!Says(json, "drive", *drive) || !Says(json, "io", io)) return absl::nullopt;
  const int64_t chunk_bytes = NumberOf(json, "chunk_bytes"), depth = NumberOf(json, "depth");
  if (chunk_bytes < 1 || chunk_bytes > ReadPattern::kMostChunkBytes) return absl::nullopt;
  if (depth < 1 || depth > ReadPattern::kMostDepth) return absl::nullopt;
  const ReadPattern pattern = {static_cast<uint32_t>(chunk_bytes), static_cast<int>(depth), "measured earlier"};
  return pattern.IsSound() ? absl::make_optional(pattern) : absl::nullopt;
}

absl::Status PatternCache::Prepare() const {
  std::error_code error;
  std::filesystem::create_directories(folder_, error);
  if (error) return absl::UnavailableError(absl::StrCat("cannot make the folder ", folder_, ": ", error.message()));
  if (access(folder_.c_str(), W_OK) == 0) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat("cannot write into the folder ", folder_, ": ", std::strerror(errno)));
}

absl::StatusOr<std::string> PatternCache::Keep(const std::string& path, absl::string_view io,
                                               const DriveProfile& profile) const {
  ASSIGN_OR_RETURN(const std::string drive, DriveOf(path));
  const nlohmann::ordered_json json = {{"format", kFormat},
                                       {"drive", drive},
                                       {"io", std::string(io)},
                                       {"chunk_bytes", profile.chosen.block_bytes},
                                       {"depth", profile.chosen.depth},
                                       {"gbps", profile.chosen.bytes_per_second / 1e9}};
  RETURN_IF_ERROR(Prepare());
  const std::string file = FileOf(drive, io);
  ASSIGN_OR_RETURN(FileWriter writer, FileWriter::Create(file));
  RETURN_IF_ERROR(writer.Append(json.dump() + "\n"));
  RETURN_IF_ERROR(writer.Commit());
  return file;
}

}  // namespace sluice
