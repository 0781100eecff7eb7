// The outcome of routing a sweep's rows in one layer, indexed by expert.
#ifndef SLUICE_SRC_MODEL_ROUTING_H_
#define SLUICE_SRC_MODEL_ROUTING_H_

#include <cstdint>

#include "absl/types/span.h"
#include "base/arena.h"
#include "src/model/model_config.h"
#include "src/model/router.h"

namespace sluice {

// A row that chose an expert.
struct RoutedRow {
  int32_t row;
  int32_t choice;  // which of the row's choices, in ascending expert id
  float weight;
};

class Routing {
 public:
  Routing(Arena* arena, const RoutingConfig& config, int64_t max_rows);

  // To be filled for each row, then Index builds the rest.
  absl::Span<ExpertChoice> choices(int64_t row) { return {choices_ + row * top_k_, static_cast<size_t>(top_k_)}; }
  absl::Span<const ExpertChoice> choices(int64_t row) const {
    return {choices_ + row * top_k_, static_cast<size_t>(top_k_)};
  }
  void Index(int64_t rows);

  // The union, ascending.
  absl::Span<const int> experts() const { return {union_, static_cast<size_t>(union_size_)}; }
  // Ascending rows.
  absl::Span<const RoutedRow> rows_of(int expert) const {
    return {routed_ + begin_[expert], static_cast<size_t>(begin_[expert + 1] - begin_[expert])};
  }

 private:
  int experts_;
  int top_k_;
  ExpertChoice* choices_;  // [max_rows][top_k]
  int* union_;
  int union_size_ = 0;
  int64_t* begin_;  // [experts + 1]
  int64_t* fill_;   // [experts]
  RoutedRow* routed_;
};

}  // namespace sluice

#endif  // SLUICE_SRC_MODEL_ROUTING_H_
