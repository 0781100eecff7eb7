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
  if (slot == guess_loading_) {
    const IoCounters io = loader_->counters();
    NoteProgress(io);
    if (!used) counters_.prefetch_lost_bytes += io.prefetch_bytes_in_flight;
  }
  if (!used) return;
  counters_.prefetch_used_ns += guess.guess_ns;
  counters_.prefetch_gained_bytes += guess.guess_bytes;
}

void ExpertPool::Impl::NoteProgress(const IoCounters& io) {
  Slot& guess = slots_[guess_loading_];
  guess.guess_ns = io.prefetch_only_ns - io_before_guess_.prefetch_only_ns;
  guess.guess_bytes = io.prefetch_bytes - io_before_guess_.prefetch_bytes;
}

void ExpertPool::Impl::Prefetch(int layer, absl::Span<const int> experts, double odds) {
  if (mapped_) return;
  MutexLock lock(&mutex_);
  SLUICE_CHECK(layer >= 0 && layer < layers_);
  ForgetGuesses();
  guess_layer_ = layer;
  guess_odds_ = odds;
  guesses_.assign(experts.rbegin(), experts.rend());
  for (const int expert : guesses_) is_guess_[expert] = 1;
  StartGuess();
}

void ExpertPool::Impl::ForgetGuesses() {
  guesses_.clear();
  std::fill(is_guess_.begin(), is_guess_.end(), 0);
}

void ExpertPool::Impl::StartGuess() {
  const auto wants_slots = [](const ClassState& size_class) { return !size_class.pending.empty(); };
  if (guess_loading_ >= 0 || !failure_.ok() || std::any_of(classes_.begin(), classes_.end(), wants_slots)) return;
  for (; !guesses_.empty(); guesses_.pop_back()) {
    const int expert = guesses_.back();
    if (slot_of_[Index(guess_layer_, expert)] >= 0) continue;
    const int slot = TakeForGuess(&classes_[ClassOfRecord(guess_layer_, expert)], expert);
    if (slot < 0) return;  // until a slot is given back
    guesses_.pop_back();
    slots_[slot].guessed = true;
    guessed_.push_back(slot);
    guess_loading_ = slot;
    ++guess_serial_;
    io_before_guess_ = loader_->counters();
    return Load(slot, guess_layer_, expert, LoadPriority::kPrefetch, GuessToken());
  }
}

int ExpertPool::Impl::TakeForGuess(ClassState* size_class, int expert) {
  if (!size_class->free.empty()) return TakeUnused(size_class, kAnyScore);
  KnowVictims(size_class);
  const Guess guess = {guess_layer_, expert, guess_odds_};
  const auto may_leave = [&](int victim) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return MayLeave(victim, guess); };
  const int slot = PopVictimAbove(ScoreOf(guess, *policy_, layer_), may_leave, &size_class->victims, &passed_over_);
  if (slot >= 0) Evict(slot);
  return slot;
}

bool ExpertPool::Impl::MayLeave(int index, const Guess& guess) const {
  const Slot& slot = slots_[index];
  const bool is_guess_too = slot.layer == guess.layer && is_guess_[slot.expert] != 0;
  return !is_guess_too && !IsKeptFrom(guess, *policy_, slot.layer, slot.expert, layer_);
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
  NoteProgress(loader_->counters());
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
