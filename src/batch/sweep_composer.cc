#include "src/batch/sweep_composer.h"

#include <algorithm>

namespace sluice {

void SweepComposer::Compose(absl::Span<const std::unique_ptr<Document>> documents, const SweepLimits& limits,
                            PrefixIndex* prefixes) {
  rows_.clear();
  shares_.clear();
  logits_rows_ = 0;
  const auto rows_left = [&] { return limits.rows - static_cast<int64_t>(rows_.size()); };
  for (const std::unique_ptr<Document>& document : documents) {
    if (rows_left() == 0 || logits_rows_ == limits.logits_rows) break;
    if (document->pending() == 1 && prefixes->Ready(document->sequence, document->shared_positions)) {
      Take(document.get(), 1);
    }
  }
  int64_t prompt_rows = 0;
  for (const std::unique_ptr<Document>& document : documents) {
    int64_t rows = std::min({document->pending(), rows_left(), limits.prompt_rows - prompt_rows});
    if (document->pending() == 1 || !prefixes->Ready(document->sequence, document->shared_positions)) continue;
    // Its last row wants logits: without room for them it waits for the next sweep.
    if (rows == document->pending() && logits_rows_ == limits.logits_rows) --rows;
    if (rows <= 0) continue;
    prompt_rows += rows;
    Take(document.get(), rows);
    prefixes->Advance(document->sequence, document->computed + rows);
  }
}

void SweepComposer::Take(Document* document, int64_t rows) {
  const bool wants_logits = rows == document->pending();
  shares_.push_back({document, rows, wants_logits});
  logits_rows_ += wants_logits;
  for (int64_t i = 0; i < rows; ++i) {
    const int64_t position = document->computed + i;
    rows_.push_back({document->sequence, position, document->token(position), wants_logits && i + 1 == rows,
                     document->is_generated(position)});
  }
}

}  // namespace sluice
