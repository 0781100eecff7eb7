#include "storage/drive_probe.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/aligned_buffer.h"
#include "base/check.h"
#include "base/checked_math.h"
#include "base/clock.h"
#include "base/status.h"

namespace sluice {
namespace {

// Of the time, for going through the grid; the rest is for the second look.
constexpr double kFirstLook = 0.7;
constexpr double kLatest = 1.25;
constexpr double kNearlyAsFast = 0.97;
constexpr size_t kReapAtOnce = 64;

// A cell of the grid and what was seen of it.
struct Cell {
  uint32_t block_bytes;
  int depth;
  uint64_t reads = 0;
  std::vector<double> rates = {};  // bytes per second, of each round

  bool Is(const ReadPattern& pattern) const { return block_bytes == pattern.chunk_bytes && depth == pattern.depth; }
};

double Median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

// What came after the first completion.
struct Window {
  int64_t first_ns = 0;
  int64_t last_ns = 0;
  uint64_t reads = 0;
  uint64_t bytes = 0;

  void Add(int64_t now_ns, size_t more_reads, uint64_t more_bytes) {
    last_ns = now_ns;
    if (more_reads == 0) return;
    if (first_ns == 0) {
      first_ns = now_ns;
      return;
    }
    reads += more_reads;
    bytes += more_bytes;
  }
};

class Prober {
 public:
  Prober(std::unique_ptr<BlockReader> reader, const std::vector<uint64_t>& file_sizes, const DriveProbeOptions& options)
      : reader_(std::move(reader)), file_sizes_(file_sizes), options_(options), random_(options.seed * 2 + 1) {}

  absl::StatusOr<DriveProfile> Run() {
    RETURN_IF_ERROR(LayOutGrid());
    begin_ns_ = options_.now_ns();
    const int total = static_cast<int>(cells_.size()) * options_.rounds;
    const int64_t slice_ns = static_cast<int64_t>(kFirstLook * options_.seconds * 1e9 / total);
    int done = 0;
    for (int round = 0; round < options_.rounds && (round == 0 || InTime(kFirstLook)); ++round) {
      for (Cell& cell : cells_) {
        ASSIGN_OR_RETURN(const double rate, Measure(slice_ns, &cell));
        cell.rates.push_back(rate);
        options_.progress(++done, total);
      }
    }
    DriveProfile profile = FirstLook();
    if (profile.chosen.bytes_per_second > 0 && InTime(1)) RETURN_IF_ERROR(SecondLook(&profile));
    return profile;
  }

 private:
  // Whether less than that share of the time has passed.
  bool InTime(double share) const {
    return static_cast<double>(options_.now_ns() - begin_ns_) < share * options_.seconds * 1e9;
  }

  absl::Status LayOutGrid() {
    const uint64_t largest = *std::max_element(file_sizes_.begin(), file_sizes_.end());
    uint64_t memory_bytes = 0;
    for (const uint32_t block : options_.block_bytes) {
      for (const int depth : options_.depths) {
        const uint64_t in_flight = uint64_t{block} * static_cast<uint64_t>(depth);
        if (block > largest || block % reader_->alignment_bytes() != 0 || depth > reader_->capacity()) continue;
        if (in_flight > options_.most_bytes_in_flight) continue;
        cells_.push_back({block, depth});
        memory_bytes = std::max(memory_bytes, in_flight);
      }
    }
    if (cells_.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat("a file of ", largest, " bytes is too small to measure a drive with; give a larger one"));
    }
    ASSIGN_OR_RETURN(memory_, AlignedBuffer::Create(memory_bytes, std::max<size_t>(reader_->alignment_bytes(), 4096)));
    return absl::OkStatus();
  }

  // Keeps `depth` reads in flight for a while; what comes between the first and
  // the last completion in that time counts. All reads have ended afterwards.
  // Returns bytes per second.
  absl::StatusOr<double> Measure(int64_t slice_ns, Cell* cell) {
    for (int slot = 0; slot < cell->depth; ++slot) RETURN_IF_ERROR(SubmitOne(*cell, slot));
    const int64_t begin_ns = options_.now_ns();
    Window window;
    absl::Status failure;
    for (int in_flight = cell->depth; in_flight > 0;) {
      std::array<BlockCompletion, kReapAtOnce> completions;
      ASSIGN_OR_RETURN(const size_t count, reader_->Reap(absl::MakeSpan(completions)));
      const int64_t now_ns = options_.now_ns();
      uint64_t bytes = 0;
      for (size_t i = 0; i < count; ++i) {
        failure.Update(Check(completions[i]));
        bytes += static_cast<uint64_t>(std::max(completions[i].result, 0));
      }
      const bool in_time = now_ns - begin_ns < slice_ns;
      if (in_time || window.reads == 0) window.Add(now_ns, count, bytes);
      // However short the slice, something is measured.
      const bool more = failure.ok() && !stopped() && (in_time || window.reads == 0);
      for (size_t i = 0; more && i < count; ++i) {
        RETURN_IF_ERROR(SubmitOne(*cell, static_cast<int>(completions[i].tag)));
      }
      if (!more) in_flight -= static_cast<int>(count);
    }
    RETURN_IF_ERROR(failure);
    if (stopped()) return absl::CancelledError("interrupted");
    cell->reads += window.reads;
    return Ratio(static_cast<double>(window.bytes) * 1e9, static_cast<double>(window.last_ns - window.first_ns));
  }

  bool stopped() const { return options_.stop != nullptr && options_.stop->load(std::memory_order_relaxed); }

  static absl::Status Check(const BlockCompletion& completion) {
    if (completion.result >= 0) return absl::OkStatus();
    return absl::UnavailableError(absl::StrCat("the drive refuses a read: ", std::strerror(-completion.result)));
  }

  absl::Status SubmitOne(const Cell& cell, int slot) {
    BlockRead read = Place(cell.block_bytes);
    read.destination = memory_.data() + static_cast<size_t>(slot) * cell.block_bytes;
    read.tag = static_cast<uint64_t>(slot);
    return reader_->Submit({&read, 1});
  }

  // Anywhere in any file, each byte as likely as the next.
  BlockRead Place(uint32_t block_bytes) {
    uint64_t places = 0;
    for (const uint64_t size : file_sizes_) places += Places(size, block_bytes);
    uint64_t place = NextRandom() % places;
    int file = 0;
    while (place >= Places(file_sizes_[static_cast<size_t>(file)], block_bytes)) {
      place -= Places(file_sizes_[static_cast<size_t>(file)], block_bytes);
      ++file;
    }
    return {file, place * reader_->alignment_bytes(), block_bytes, nullptr, 0};
  }
  uint64_t Places(uint64_t size, uint32_t block_bytes) const {
    return size < block_bytes ? 0 : (size - block_bytes) / reader_->alignment_bytes() + 1;
  }

  uint64_t NextRandom() {
    random_ = random_ * 6364136223846793005u + 1442695040888963407u;
    return random_ >> 16;
  }

  static DriveRate RateOf(const Cell& cell) { return {cell.block_bytes, cell.depth, Median(cell.rates), cell.reads}; }
  static uint64_t InFlight(const DriveRate& rate) {
    return uint64_t{rate.block_bytes} * static_cast<uint64_t>(rate.depth);
  }

  // What may be chosen: of all that are nearly as fast as the best one of them, the
  // one that needs the fewest bytes in flight.
  static DriveRate Challenger(const std::vector<DriveRate>& grid) {
    DriveRate challenger;
    double best = 0;
    for (const DriveRate& rate : grid) {
      if (InFlight(rate) <= ReadPattern::kMostBytesInFlight) best = std::max(best, rate.bytes_per_second);
    }
    for (const DriveRate& rate : grid) {
      if (InFlight(rate) > ReadPattern::kMostBytesInFlight || rate.bytes_per_second < kNearlyAsFast * best) continue;
      if (challenger.depth == 0 || InFlight(rate) < InFlight(challenger)) challenger = rate;
    }
    return challenger;
  }

  DriveProfile FirstLook() const {
    DriveProfile profile;
    for (const Cell& cell : cells_) profile.grid.push_back(RateOf(cell));
    const auto slower = [](const DriveRate& a, const DriveRate& b) { return a.bytes_per_second < b.bytes_per_second; };
    profile.best = *std::max_element(profile.grid.begin(), profile.grid.end(), slower);
    const Cell* const usual = Find(ReadPattern());
    profile.chosen = usual != nullptr ? RateOf(*usual) : Challenger(profile.grid);
    return profile;
  }

  // The challenger and the usual pattern by turns: what one of them owes to the hour
  // the other has too.
  absl::Status SecondLook(DriveProfile* profile) {
    const DriveRate challenger = Challenger(profile->grid);
    const bool clearly = challenger.bytes_per_second > DriveProfile::kClearlyFaster * profile->chosen.bytes_per_second;
    if (Find(ReadPattern()) == nullptr || !clearly) return absl::OkStatus();
    Cell usual = *Find(ReadPattern()), other = {challenger.block_bytes, challenger.depth};
    const int64_t slice_ns = static_cast<int64_t>((1 - kFirstLook) * options_.seconds * 1e9 / (2 * options_.pairs));
    std::vector<double> ratios;
    for (int pair = 0; pair < options_.pairs; ++pair) {
      if (!InTime(kLatest)) return absl::OkStatus();
      const bool usual_first = pair % 2 == 0;
      ASSIGN_OR_RETURN(const double first, Measure(slice_ns, usual_first ? &usual : &other));
      ASSIGN_OR_RETURN(const double second, Measure(slice_ns, usual_first ? &other : &usual));
      ratios.push_back(usual_first ? Ratio(second, first) : Ratio(first, second));
    }
    std::nth_element(ratios.begin(), ratios.begin() + 1, ratios.end());
    profile->second_look = ratios[1];
    if (profile->second_look > DriveProfile::kClearlyFaster) profile->chosen = challenger;
    return absl::OkStatus();
  }

  const Cell* Find(const ReadPattern& pattern) const {
    const auto found = std::find_if(cells_.begin(), cells_.end(), [&](const Cell& cell) { return cell.Is(pattern); });
    return found == cells_.end() ? nullptr : &*found;
  }

  AlignedBuffer memory_;  // outlives the reader and what it has in flight
  const std::unique_ptr<BlockReader> reader_;
  const std::vector<uint64_t>& file_sizes_;
  const DriveProbeOptions& options_;
  uint64_t random_;
  int64_t begin_ns_ = 0;
  std::vector<Cell> cells_;
};

}  // namespace

DriveProbeOptions DriveProbeOptions::Short() {
  DriveProbeOptions options;
  options.block_bytes = {256 << 10, 1 << 20, 4 << 20};
  options.depths = {4, 16, 32};
  options.most_bytes_in_flight = 32 << 20;
  options.rounds = 3;
  options.seconds = 2;
  return options;
}

absl::StatusOr<DriveProfile> ProbeDrive(std::unique_ptr<BlockReader> reader, const std::vector<uint64_t>& file_sizes,
                                        const DriveProbeOptions& options) {
  SLUICE_CHECK(!file_sizes.empty() && reader->Mapped(0) == nullptr);
  return Prober(std::move(reader), file_sizes, options).Run();
}

}  // namespace sluice
