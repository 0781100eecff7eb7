// What came next when routing last went the way it goes now.
#ifndef SLUICE_STORAGE_ROUTING_ECHOES_H_
#define SLUICE_STORAGE_ROUTING_ECHOES_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"

namespace sluice {

// Remembers each layer's last kTurns unions. A lag is an echo when the turns of
// the last layers, this sweep's and those of the sweep before, resemble what
// stood `lag` turns earlier; the turn after that one then votes for what its
// layer will use next. Text repeats itself: names, phrases, templates and words
// choose much the same experts again.
// Observe takes no memory and about kTurns x top_k steps. No clock, no
// randomness. One thread at a time.
class RoutingEchoes {
 public:
  static constexpr int kTurns = 256;
  // Larger unions, of prompts and of many sequences, are not remembered and echo
  // nothing: they tell little of any one token.
  static constexpr size_t kMostIds = 16;

  // Both at least 1; `experts` at most 65536.
  RoutingEchoes(int layers, int experts);

  // The union that one sweep routed to in `layer`, different ids.
  void Observe(int layer, absl::Span<const int> experts);

  // How strongly the echoes as of the last Observe speak in all, and how much of
  // that is for `expert` at the next turn of `layer`. Each echo counts the sixth
  // power of its likeness, which is at most 1; there are kMostEchoes at most.
  double total_votes() const { return total_votes_; }
  double Votes(int layer, int expert) const {
    return votes_[static_cast<size_t>(layer) * experts_ + static_cast<size_t>(expert)];
  }

 private:
  static constexpr size_t kMostEchoes = 16;

  struct Turn {
    std::array<uint16_t, kMostIds> ids;
    size_t count = 0;
  };
  struct Echo {
    double weight;
    int lag;
  };

  Turn& TurnAt(size_t layer, int64_t turn) { return turns_[layer * kTurns + static_cast<size_t>(turn % kTurns)]; }
  void Compare(size_t layer, size_t union_size);
  void ChooseEchoes();
  void CountVotes();

  const size_t layers_;
  const size_t experts_;
  std::vector<Turn> turns_;                   // of each layer, a ring
  std::vector<int64_t> observed_;             // of each layer: how many turns it has had
  std::array<double, kTurns> likeness_ = {};  // by lag, an average over the last layers
  std::vector<uint8_t> chosen_;               // by the present union
  std::vector<Echo> echoes_;
  std::vector<float> votes_;
  double total_votes_ = 0;
};

}  // namespace sluice

#endif  // SLUICE_STORAGE_ROUTING_ECHOES_H_
