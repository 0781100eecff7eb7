#include "src/model/routing.h"

#include <algorithm>

namespace sluice {

Routing::Routing(Arena* arena, const RoutingConfig& config, int64_t max_rows)
    : experts_(config.experts), top_k_(config.top_k) {
  choices_ = arena->Take<ExpertChoice>(max_rows * top_k_);
  union_ = arena->Take<int>(experts_);
  begin_ = arena->Take<int64_t>(experts_ + 1);
  fill_ = arena->Take<int64_t>(experts_);
  routed_ = arena->Take<RoutedRow>(max_rows * top_k_);
}

void Routing::Index(int64_t rows) {
  std::fill_n(begin_, experts_ + 1, 0);
  for (int64_t i = 0; i < rows * top_k_; ++i) ++begin_[choices_[i].expert + 1];
  union_size_ = 0;
  for (int e = 0; e < experts_; ++e) {
    if (begin_[e + 1] > 0) union_[union_size_++] = e;
    begin_[e + 1] += begin_[e];
    fill_[e] = begin_[e];
  }
  for (int64_t row = 0; row < rows; ++row) {
    for (int k = 0; k < top_k_; ++k) {
      const ExpertChoice& choice = choices_[row * top_k_ + k];
      routed_[fill_[choice.expert]++] = {static_cast<int32_t>(row), k, choice.weight};
    }
  }
}

}  // namespace sluice
