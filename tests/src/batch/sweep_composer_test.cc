#include "src/batch/sweep_composer.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "src/model/kv_cache.h"
#include "tests/src/text/small_vocabulary.h"

namespace sluice {
namespace {

constexpr int64_t kPlenty = 1 << 20;

const Tokenizer& Small() {
  static const auto* const tokenizer = new Tokenizer(*Tokenizer::Create(SmallVocabulary("gpt-2")));
  return *tokenizer;
}

std::vector<int32_t> Prompt(int64_t tokens, int32_t first = 0) {
  std::vector<int32_t> prompt;
  for (int64_t i = 0; i < tokens; ++i) prompt.push_back(static_cast<int32_t>((first + i) % 200));
  return prompt;
}

// Documents in flight, the first with sequence 0.
class InFlightDocuments {
 public:
  explicit InFlightDocuments(int most = 8) : prefixes_(most) {}

  // With `computed` positions in the cache and `generated` tokens chosen.
  Document* Add(std::vector<int32_t> prompt, int64_t computed = 0, int generated = 0) {
    const int64_t prompt_tokens = static_cast<int64_t>(prompt.size());
    Completion completion(BatchRequest(), prompt_tokens, 100, 1, &Small());
    for (int i = 0; i < generated; ++i) completion.Append({'a' + i, 0, {}});
    documents_.push_back(
        std::make_unique<Document>(documents_.size() + 1, absl::nullopt, std::move(prompt), std::move(completion)));
    documents_.back()->sequence = static_cast<int>(documents_.size()) - 1;
    documents_.back()->computed = computed;
    return documents_.back().get();
  }

  // As the runner does it: blocks of its own behind the ones that are known.
  Document* AddSharing(std::vector<int32_t> prompt) {
    Document* document = Add(std::move(prompt));
    std::vector<int32_t> blocks = prefixes_.Find(document->prompt);
    document->computed = document->shared_positions = static_cast<int64_t>(blocks.size()) * kKvBlockTokens;
    while (static_cast<int64_t>(blocks.size()) * kKvBlockTokens < document->prompt_size()) blocks.push_back(next_++);
    prefixes_.Add(document->sequence, document->prompt, blocks);
    return document;
  }

  void Compose(SweepLimits limits) { composer_.Compose(documents_, limits, &prefixes_); }
  // As if the sweep had been run; what is answered leaves.
  void Take() {
    for (const SweepComposer::Share& share : composer_.shares()) {
      share.document->computed += share.rows;
      if (share.wants_logits) share.document->completion.Append({'z', 0, {}});
    }
    for (auto& document : documents_) {
      if (!document->completion.finished()) continue;
      prefixes_.Remove(document->sequence);
      document.reset();
    }
    documents_.erase(std::remove(documents_.begin(), documents_.end(), nullptr), documents_.end());
  }
  bool empty() const { return documents_.empty(); }
  void Sweep(SweepLimits limits) {
    Compose(limits);
    Take();
  }

  const SweepComposer& composer() const { return composer_; }
  // "0:3+ 2:1": rows of each sequence, with a plus where logits are wanted.
  std::string Shares() const {
    std::string text;
    for (const SweepComposer::Share& share : composer_.shares()) {
      absl::StrAppend(&text, text.empty() ? "" : " ", share.document->sequence, ":", share.rows,
                      share.wants_logits ? "+" : "");
    }
    return text;
  }

 private:
  std::vector<std::unique_ptr<Document>> documents_;
  PrefixIndex prefixes_;
  SweepComposer composer_;
  int32_t next_ = 0;  // block
};

SweepLimits Limits(int64_t rows, int64_t logits = kPlenty, int64_t prompts = kPlenty) {
  return {rows, logits, prompts};
}

TEST_CASE("a sweep with room for all carries every row, the next tokens in front") {
  InFlightDocuments documents;
  documents.Add(Prompt(5));
  documents.Add(Prompt(3), 3, 1);
  documents.Add(Prompt(2), 1);
  documents.Compose(Limits(kPlenty));
  CHECK(documents.Shares() == "1:1+ 2:1+ 0:5+");
  CHECK(documents.composer().rows().size() == 7);
}

TEST_CASE("rows tell token, position, origin and whose last one it is") {
  InFlightDocuments documents;
  documents.Add(Prompt(4, 10), 2, 2);  // replayed: half a prompt and two tokens
  documents.Compose(Limits(kPlenty));
  const absl::Span<const Row> rows = documents.composer().rows();
  REQUIRE(rows.size() == 4);
  const int32_t tokens[] = {12, 13, 'a', 'b'};
  for (int i = 0; i < 4; ++i) {
    CAPTURE(i);
    CHECK(rows[i].sequence == 0);
    CHECK(rows[i].position == 2 + i);
    CHECK(rows[i].token == tokens[i]);
    CHECK(rows[i].generated == (i >= 2));
    CHECK(rows[i].wants_logits == (i == 3));
  }
}

TEST_CASE("the oldest documents get what room is left, in part where it ends") {
  InFlightDocuments documents;
  for (int i = 0; i < 3; ++i) documents.Add(Prompt(4));
  documents.Add(Prompt(4), 4, 1);
  documents.Compose(Limits(7));
  CHECK(documents.Shares() == "3:1+ 0:4+ 1:2");
  documents.Take();
  documents.Compose(Limits(7));
  CHECK(documents.Shares() == "0:1+ 3:1+ 1:2+ 2:3");
}

TEST_CASE("prompts take no more rows than they may") {
  InFlightDocuments documents;
  documents.Add(Prompt(10));
  documents.Add(Prompt(10));
  documents.Add(Prompt(4), 4, 1);
  documents.Compose(Limits(kPlenty, kPlenty, 12));
  CHECK(documents.Shares() == "2:1+ 0:10+ 1:2");
  documents.Compose(Limits(kPlenty, kPlenty, 0));
  CHECK(documents.Shares() == "2:1+");
}

TEST_CASE("a prompt waits with its last row until there is room for its logits") {
  InFlightDocuments documents;
  documents.Add(Prompt(3));
  documents.Add(Prompt(4), 4, 1);
  documents.Sweep(Limits(kPlenty, 1));
  CHECK(documents.Shares() == "1:1+ 0:2");
  // Its one row left is now a next token like any other, and older.
  documents.Compose(Limits(kPlenty, 1));
  CHECK(documents.Shares() == "0:1+");
}

TEST_CASE("no limit is ever passed and every document comes to its end") {
  for (const int64_t rows : {1, 2, 5, 33}) {
    for (const int64_t prompts : {1, 3, 40}) {
      CAPTURE(rows);
      CAPTURE(prompts);
      InFlightDocuments documents;
      for (int i = 0; i < 6; ++i) documents.AddSharing(Prompt(i % 2 == 0 ? 70 : 20 + i));
      const SweepLimits limits = {rows, std::min<int64_t>(rows, 3), prompts};
      for (int sweep = 0; !documents.empty(); ++sweep) {
        REQUIRE(sweep < 1000);
        documents.Compose(limits);
        const SweepComposer& composer = documents.composer();
        REQUIRE_FALSE(composer.rows().empty());
        REQUIRE(static_cast<int64_t>(composer.rows().size()) <= rows);
        int64_t prompt_rows = 0;
        for (const SweepComposer::Share& share : composer.shares()) {
          prompt_rows += share.document->pending() > 1 ? share.rows : 0;
        }
        REQUIRE(prompt_rows <= prompts);
        int64_t logits = 0;
        for (const Row& row : composer.rows()) logits += row.wants_logits;
        REQUIRE(logits <= limits.logits_rows);
        documents.Take();
      }
    }
  }
}

TEST_CASE("a document with a prefix of another's joins in the sweep that computes it, not before") {
  InFlightDocuments documents;
  documents.AddSharing(Prompt(80));
  Document* sharing = documents.AddSharing(Prompt(70));
  CHECK(sharing->shared_positions == 64);
  documents.Sweep(Limits(40));
  CHECK(documents.Shares() == "0:40");
  documents.Sweep(Limits(40));
  CHECK(documents.Shares() == "0:40+");
  documents.Compose(Limits(40));
  CHECK(documents.Shares() == "0:1+ 1:6+");
  CHECK(documents.composer().rows()[1].position == 64);
}

TEST_CASE("a shared prefix and what stands on it may share a sweep") {
  InFlightDocuments documents;
  documents.AddSharing(Prompt(80));
  documents.AddSharing(Prompt(70));
  documents.Compose(Limits(kPlenty));
  CHECK(documents.Shares() == "0:80+ 1:6+");
}

TEST_CASE("a document whose one row stands on a prefix waits for it too") {
  InFlightDocuments documents;
  documents.AddSharing(Prompt(80));
  documents.AddSharing(Prompt(65));
  documents.Sweep(Limits(50));
  CHECK(documents.Shares() == "0:50");
  documents.Sweep(Limits(50));
  documents.Compose(Limits(50));
  CHECK(documents.Shares() == "0:1+ 1:1+");
}

}  // namespace
}  // namespace sluice
