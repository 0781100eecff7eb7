// The size classes of a pool: facts about records, no state.
#include <algorithm>
#include <map>

#include "storage/expert_pool.h"

namespace sluice {

std::vector<ExpertPool::SizeClass> ExpertPool::ClassesOf(absl::Span<const Record> records, uint32_t alignment) {
  std::map<std::vector<uint64_t>, uint64_t> slot_bytes_by_lengths;
  for (const Record& record : records) {
    std::vector<uint64_t> lengths;
    for (const Slice& slice : record.slices) lengths.push_back(slice.bytes);
    uint64_t& slot_bytes = slot_bytes_by_lengths[std::move(lengths)];
    slot_bytes = std::max(slot_bytes, SlotBytes(record, alignment));
  }
  std::vector<SizeClass> classes;
  for (const auto& [lengths, slot_bytes] : slot_bytes_by_lengths) classes.push_back({slot_bytes, 0});
  std::sort(classes.begin(), classes.end(),
            [](const SizeClass& a, const SizeClass& b) { return a.slot_bytes < b.slot_bytes; });
  const auto same = [](const SizeClass& a, const SizeClass& b) { return a.slot_bytes == b.slot_bytes; };
  classes.erase(std::unique(classes.begin(), classes.end(), same), classes.end());
  return classes;
}

int ExpertPool::ClassFor(absl::Span<const SizeClass> classes, uint64_t slot_bytes) {
  const auto fits = std::lower_bound(classes.begin(), classes.end(), slot_bytes,
                                     [](const SizeClass& a, uint64_t bytes) { return a.slot_bytes < bytes; });
  return fits == classes.end() ? -1 : static_cast<int>(fits - classes.begin());
}

}  // namespace sluice
