// Reads ahead of demand: one guess at a time, while nothing else is wanted.
#include <algorithm>

#include "base/check.h"
#include "storage/expert_pool_impl.h"

namespace sluice {

void ExpertPool::Impl::JudgeGuesses() {
  for (const int slot : guessed_) {
    const bool used = slots_[slot].layer == layer_ && stages_[slots_[slot].expert] != Stage::kNone;
    EndGuess(slot, used);
    if (!used && slot == guess_loading_) loader_->Abandon(GuessToken());
  }
  guessed_.clear();
}

void ExpertPool::Impl::EndGuess(int slot, bool used) {
  Slot& guess = slots_[slot];
  guess.guessed = false;
  ++(used ? counters_.prefetches_used : counters_.prefetches_wasted);
  if (!used) return;
  if (slot == guess_loading_) guess.guess_ns = loader_->counters().prefetch_only_ns - guess_ns_before_;
  counters_.prefetch_used_ns += guess.guess_ns;
}

void ExpertPool::Impl::Prefetch(int layer, absl::Span<const int> experts) {
  if (mapped_) return;
  MutexLock lock(&mutex_);
  SLUICE_CHECK(layer >= 0 && layer < layers_);
  guess_layer_ = layer;
  guesses_.assign(experts.rbegin(), experts.rend());
  StartGuess();
}

void ExpertPool::Impl::StartGuess() {
  const auto wants_slots = [](const ClassState& size_class) { return !size_class.pending.empty(); };
  if (guess_loading_ >= 0 || !failure_.ok() || std::any_of(classes_.begin(), classes_.end(), wants_slots)) return;
  for (; !guesses_.empty(); guesses_.pop_back()) {
    const int expert = guesses_.back();
    if (slot_of_[Index(guess_layer_, expert)] >= 0) continue;
    const int slot = TakeUnused(&classes_[ClassOfRecord(guess_layer_, expert)], kAnyScore);
    if (slot < 0) return;  // until a slot is given back
    guesses_.pop_back();
    slots_[slot].guessed = true;
    guessed_.push_back(slot);
    guess_loading_ = slot;
    ++guess_serial_;
    guess_ns_before_ = loader_->counters().prefetch_only_ns;
    return Load(slot, guess_layer_, expert, LoadPriority::kPrefetch, GuessToken());
  }
}

// Demand comes first: a guess gives up its slot to it.
int ExpertPool::Impl::TakeGuess(const ClassState& size_class) {
  for (auto guess = guessed_.begin(); guess != guessed_.end(); ++guess) {
    const int slot = *guess;
    if (&classes_[slots_[slot].size_class] != &size_class || slots_[slot].state != SlotState::kResident) continue;
    EndGuess(slot, /*used=*/false);
    guessed_.erase(guess);
    Evict(slot);
    return slot;
  }
  return -1;
}

void ExpertPool::Impl::OnGuessLoaded(int index, bool ok) {
  Slot& slot = slots_[index];
  slot.guess_ns = loader_->counters().prefetch_only_ns - guess_ns_before_;
  guess_loading_ = -1;
  if (ok) {
    slot.state = SlotState::kResident;
    if (!slot.guessed) OfferVictim(index);  // judged before it was whole
  } else {
    if (slot.guessed) {
      EndGuess(index, /*used=*/false);
      guessed_.erase(std::find(guessed_.begin(), guessed_.end(), index));
    }
    FreeSlot(index);
  }
  StartGuess();
}

}  // namespace sluice
