// Chooses the rows of a sweep.
//
// Every document that waits for its next token gets its one row; what room is
// left goes to the documents that have more to feed, prompts or tokens replayed
// after a stop, oldest first: a prompt that is whole sooner joins the others
// sooner. Which rows share a sweep changes no bit of them. One thread.
#ifndef SLUICE_SRC_BATCH_SWEEP_COMPOSER_H_
#define SLUICE_SRC_BATCH_SWEEP_COMPOSER_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/types/span.h"
#include "src/batch/document.h"
#include "src/batch/prefix_index.h"
#include "src/model/sweep.h"

namespace sluice {

struct SweepLimits {
  int64_t rows = 1;         // of the sweep
  int64_t logits_rows = 1;  // of those that want logits
  int64_t prompt_rows = 1;  // of documents with more than one row to feed
};

class SweepComposer {
 public:
  // A document's part of the sweep.
  struct Share {
    Document* document = nullptr;
    int64_t rows = 0;
    bool wants_logits = false;  // of its last row
  };

  // `documents` in the order they were admitted, each with something pending.
  // One that shares a prefix waits until that is computed, at the latest by this
  // sweep; `prefixes` is told what the sweep will have computed.
  void Compose(absl::Span<const std::unique_ptr<Document>> documents, const SweepLimits& limits, PrefixIndex* prefixes);

  absl::Span<const Row> rows() const { return rows_; }
  absl::Span<const Share> shares() const { return shares_; }

 private:
  void Take(Document* document, int64_t rows);

  std::vector<Row> rows_;
  std::vector<Share> shares_;
  int64_t logits_rows_ = 0;
};

}  // namespace sluice

#endif  // SLUICE_SRC_BATCH_SWEEP_COMPOSER_H_
