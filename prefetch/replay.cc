#include "prefetch/replay.h"

#include <algorithm>
#include <map>
#include <numeric>

#include "absl/types/span.h"
#include "base/check.h"

namespace sluice {
namespace {

// One class of slots and what lies in them. Records are numbered layer x experts
// + expert.
struct SlotClass {
  size_t slots = 0;
  std::vector<int> members;  // the record in each slot that is taken
  std::vector<Victim> victims;
  bool victims_known = false;  // for the present event
};

class Replayer {
 public:
  Replayer(const RoutingTrace& trace, EvictionPolicy& policy, const ReplayPool& pool, Predictor* predictor,
           double guess_odds)
      : trace_(trace),
        policy_(policy),
        class_of_layer_(pool.class_of_layer),
        predictor_(predictor),
        guess_odds_(guess_odds),
        state_(static_cast<size_t>(trace.layers()) * static_cast<size_t>(trace.experts())) {
    SLUICE_CHECK(class_of_layer_.size() == static_cast<size_t>(trace.layers()));
    for (const size_t slots : pool.slots) classes_.push_back({slots, {}, {}, false});
  }

  ReplayResult Run() {
    for (size_t event = 0; event < trace_.events(); ++event) {
      const int layer = trace_.EventLayer(event);
      if (predictor_ != nullptr) Prefetch(layer);
      Demand(layer, trace_.EventExperts(event));
    }
    return result_;
  }

 private:
  struct RecordState {
    bool resident = false;
    bool guessed = false;  // read by a prefetch and not asked for yet
    bool wanted = false;   // by the present event
  };

  int Record(int layer, int expert) const { return layer * trace_.experts() + expert; }
  RecordState& StateOf(int record) { return state_[static_cast<size_t>(record)]; }
  SlotClass& ClassOf(int layer) { return classes_[static_cast<size_t>(class_of_layer_[static_cast<size_t>(layer)])]; }
  double ScoreOf(int record, int now_layer) const {
    return policy_.Score(record / trace_.experts(), record % trace_.experts(), now_layer);
  }

  void Demand(int layer, absl::Span<const int> experts) {
    for (const int expert : experts) StateOf(Record(layer, expert)).wanted = true;
    policy_.Observe(layer, experts);
    SlotClass& slots = ClassOf(layer);
    slots.victims_known = false;
    misses_.clear();
    for (const int expert : experts) LookUp(layer, expert);
    for (const int record : misses_) Admit(&slots, record, layer);
    for (const int expert : experts) StateOf(Record(layer, expert)).wanted = false;
    if (predictor_ != nullptr) predictor_->Observe(layer, experts);
  }

  void LookUp(int layer, int expert) {
    RecordState& state = StateOf(Record(layer, expert));
    ++result_.lookups;
    result_.hits += state.resident;
    result_.prefetches_used += state.guessed;
    state.guessed = false;
    if (!state.resident) misses_.push_back(Record(layer, expert));
  }

  // Reads a record into a free slot or that of the worst victim. Without any slot
  // it is used and forgotten.
  void Admit(SlotClass* slots, int record, int now_layer) {
    CountBytes(record / trace_.experts());
    if (slots->slots == 0) return;
    const bool has_free = slots->members.size() < slots->slots;
    Place(slots, has_free ? slots->members.size() : TakeVictim(slots, now_layer), record);
  }

  // The slot behind the last one is free; of any other what is there leaves.
  void Place(SlotClass* slots, size_t slot, int record) {
    if (slot == slots->members.size()) {
      slots->members.push_back(record);
    } else {
      StateOf(slots->members[slot]) = {};
      slots->members[slot] = record;
    }
    StateOf(record).resident = true;
  }

  void CountBytes(int layer) {
    if (!trace_.record_bytes().empty()) result_.bytes += trace_.record_bytes()[static_cast<size_t>(layer)];
  }

  size_t TakeVictim(SlotClass* slots, int now_layer) {
    if (!slots->victims_known) ListVictims(slots, now_layer, /*wanted=*/false);
    // An event larger than the class: what has been used makes room.
    if (slots->victims.empty()) ListVictims(slots, now_layer, /*wanted=*/true);
    std::pop_heap(slots->victims.begin(), slots->victims.end());
    const size_t slot = static_cast<size_t>(slots->victims.back().slot);
    slots->victims.pop_back();
    return slot;
  }

  void ListVictims(SlotClass* slots, int now_layer, bool wanted) {
    slots->victims.clear();
    for (size_t slot = 0; slot < slots->members.size(); ++slot) {
      const int record = slots->members[slot];
      if (StateOf(record).wanted == wanted)
        slots->victims.push_back({ScoreOf(record, now_layer), static_cast<int>(slot)});
    }
    std::make_heap(slots->victims.begin(), slots->victims.end());
    slots->victims_known = true;
  }

  void Prefetch(int layer) {
    SlotClass& slots = ClassOf(layer);
    predictor_->Predict(layer, trace_.top_k(), &guesses_);
    slots.victims_known = false;
    for (const int expert : guesses_) StateOf(Record(layer, expert)).wanted = true;
    for (const int expert : guesses_) PrefetchOne(&slots, Record(layer, expert), layer);
    for (const int expert : guesses_) StateOf(Record(layer, expert)).wanted = false;
  }

  // Scores are those of the moment before the layer's turn: what is of this layer
  // is needed next.
  void PrefetchOne(SlotClass* slots, int record, int layer) {
    if (StateOf(record).resident || slots->slots == 0) return;
    const int now_layer = layer > 0 ? layer - 1 : trace_.layers() - 1;
    size_t slot = slots->members.size();
    if (slot == slots->slots) {
      const int victim = VictimForGuess(slots, {layer, record % trace_.experts(), guess_odds_}, now_layer);
      if (victim < 0) return;
      slot = static_cast<size_t>(victim);
    }
    ++result_.prefetches;
    CountBytes(layer);
    Place(slots, slot, record);
    StateOf(record).guessed = true;
  }

  int VictimForGuess(SlotClass* slots, const Guess& guess, int now_layer) {
    if (!slots->victims_known) ListVictims(slots, now_layer, /*wanted=*/false);
    const auto may_leave = [&](int slot) {
      const int record = slots->members[static_cast<size_t>(slot)];
      return !IsKeptFrom(guess, policy_, record / trace_.experts(), record % trace_.experts(), now_layer);
    };
    return PopVictimAbove(sluice::ScoreOf(guess, policy_, now_layer), may_leave, &slots->victims, &passed_over_);
  }

  const RoutingTrace& trace_;
  EvictionPolicy& policy_;
  const std::vector<int>& class_of_layer_;
  Predictor* const predictor_;
  const double guess_odds_;
  std::vector<SlotClass> classes_;
  std::vector<RecordState> state_;
  std::vector<int> misses_;   // of the present event
  std::vector<int> guesses_;  // for the coming event
  std::vector<Victim> passed_over_;
  ReplayResult result_;
};

}  // namespace

ReplayPool ReplayPool::OneClass(const RoutingTrace& trace, size_t slots) {
  return {std::vector<int>(static_cast<size_t>(trace.layers()), 0), {slots}};
}

ReplayPool ReplayPool::PerLayer(const RoutingTrace& trace, size_t slots) {
  const size_t layers = static_cast<size_t>(trace.layers());
  ReplayPool pool = {std::vector<int>(layers), {}};
  std::iota(pool.class_of_layer.begin(), pool.class_of_layer.end(), 0);
  for (size_t i = 0; i < layers; ++i) pool.slots.push_back(slots * (i + 1) / layers - slots * i / layers);
  return pool;
}

ReplayPool ReplayPool::BySize(const RoutingTrace& trace, double share) {
  const size_t layers = static_cast<size_t>(trace.layers());
  std::map<uint64_t, int> layers_of_size;
  for (size_t layer = 0; layer < layers; ++layer) {
    ++layers_of_size[trace.record_bytes().empty() ? 0 : trace.record_bytes()[layer]];
  }
  ReplayPool pool;
  std::map<uint64_t, int> class_of_size;
  for (const auto& [size, count] : layers_of_size) {
    class_of_size[size] = static_cast<int>(pool.slots.size());
    const double records = static_cast<double>(count) * trace.experts();
    pool.slots.push_back(std::max(static_cast<size_t>(share * records + 1e-9), static_cast<size_t>(trace.top_k())));
  }
  for (size_t layer = 0; layer < layers; ++layer) {
    pool.class_of_layer.push_back(class_of_size[trace.record_bytes().empty() ? 0 : trace.record_bytes()[layer]]);
  }
  return pool;
}

size_t ReplayPool::total_slots() const { return std::accumulate(slots.begin(), slots.end(), size_t{0}); }

ReplayResult Replay(const RoutingTrace& trace, EvictionPolicy& policy, const ReplayPool& pool, Predictor* predictor,
                    double guess_odds) {
  return Replayer(trace, policy, pool, predictor, guess_odds).Run();
}

}  // namespace sluice
