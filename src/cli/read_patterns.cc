#include "src/cli/read_patterns.h"

#include <cstdlib>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "src/cli/interrupt.h"

namespace sluice {
namespace {

// Below this the buffers of the measurement would be a part of the budget that is
// worth a thought, and what is read is little.
constexpr uint64_t kLeastRamBytes = uint64_t{1} << 30;

absl::StatusOr<ReadPattern> Measure(const PatternCache& cache, const ModelFiles& files, IoBackend backend,
                                    Progress* progress) {
  DriveProbeOptions options = DriveProbeOptions::Short();
  options.stop = InterruptFlag();
  options.progress = [progress](int done, int total) {
    progress->Show("measuring the drive, once", static_cast<uint64_t>(done), static_cast<uint64_t>(total));
  };
  ASSIGN_OR_RETURN(std::unique_ptr<BlockReader> reader,
                   OpenBlockReader(backend, files.paths(), ReadPattern::kMostDepth));
  const std::string io(reader->name());
  ASSIGN_OR_RETURN(const DriveProfile profile, ProbeDrive(std::move(reader), files.file_sizes(), options));
  ASSIGN_OR_RETURN(const std::string file, cache.Keep(files.paths()[0], io, profile));
  ReadPattern pattern = profile.pattern();
  pattern.origin = absl::StrCat("measured now and kept in ", file);
  return pattern;
}

}  // namespace

absl::optional<PatternCache> UserPatternCache() {
  const char* const cache = std::getenv("XDG_CACHE_HOME");
  if (cache != nullptr && absl::StartsWith(cache, "/")) return PatternCache(absl::StrCat(cache, "/sluice"));
  const char* const home = std::getenv("HOME");
  if (home != nullptr && absl::StartsWith(home, "/")) return PatternCache(absl::StrCat(home, "/.cache/sluice"));
  return absl::nullopt;
}

EngineOptions::ChoosePattern ReadPatternChooser(Progress* progress) {
  return [progress, cache = UserPatternCache()](const ModelFiles& files, IoBackend backend, uint64_t ram_bytes,
                                                absl::string_view io) {
    if (!cache.has_value()) return ReadPattern();
    const absl::optional<ReadPattern> kept = cache->Find(files.paths()[0], io);
    if (kept.has_value()) return *kept;
    const bool worth_measuring = ram_bytes >= kLeastRamBytes && files.total_bytes() > ram_bytes;
    // What cannot be kept would be measured by every run, for nothing.
    if (!worth_measuring || !cache->Prepare().ok()) return ReadPattern();
    // What goes wrong here goes wrong again, and is told, when the model is read.
    return Measure(*cache, files, backend, progress).value_or(ReadPattern());
  };
}

}  // namespace sluice
