// The expanded form of latent attention, for rows of given tokens
// (src/model/mla_heads.h).
//
// Each head is one task, on all rows of the sweep that are given: its keys and
// values are expanded from the cache block by block, and a block serves every
// row that sees it before the next is made. Memory grows with rows, not with
// context.
#ifndef SLUICE_SRC_MODEL_MLA_EXPANDED_H_
#define SLUICE_SRC_MODEL_MLA_EXPANDED_H_

#include <cstdint>
#include <vector>

#include "base/arena.h"
#include "src/model/head_product.h"
#include "src/model/linear.h"
#include "src/model/mla_heads.h"
#include "src/model/model_config.h"

namespace sluice {

class MlaExpanded {
 public:
  MlaExpanded(Arena* arena, const ModelConfig& config, Linear* linear, int64_t max_rows, int64_t max_heads);

  // `queries_in` are the inputs of the query matrix for the rows of `heads`.
  void Run(const MlaHeads& heads, const InputRows& queries_in);

 private:
  // One thread's memory.
  struct Scratch {
    float* expansion;  // [kv_lora_rank][nope]: Kb of the head
    float* latents;    // [kKeyBlock][kv_width] from the cache
    float* keys;       // [kKeyBlock][key_dims]
    float* values;     // [kKeyBlock][value_dims]
    float* scores;     // [kKeyBlock][kRowTile]
    float* queries;    // of a run's rows, [tile][key_dims][kRowTile]: scaled, transposed
    float* outputs;    // of a run's rows, [max_rows][value_dims]
    float* maxima;     // of a run's rows
    float* sums;
    float* corrections;  // [kRowTile]
  };
  struct Task {
    const MlaHeads* heads;
    int64_t head;   // of the step
    int64_t query;  // its place in the group's queries
    int thread;
    const Scratch& scratch;
  };

  Scratch TakeScratch(Arena* arena) const;
  void RunHead(const Task& task);
  void DequantizeExpansion(const Task& task);
  void AttendRun(const Task& task, const SequenceRun& run);
  void BeginRun(const Task& task, int64_t first_row, int64_t rows);
  void EndRun(const Task& task, int64_t first_row, int64_t rows);
  void ExpandKeys(const Task& task, int64_t count);
  void ExpandValues(const Task& task, int64_t count);
  // Rows [row, row + rows) of a run, a whole tile or its last one, the first of
  // which stands at `position`, on the expanded keys [key, key + kKeyBlock).
  void AttendTile(const Task& task, int64_t row, int64_t rows, int64_t position, int64_t key);

  const ModelConfig& config_;
  Linear* linear_;
  HeadProduct product_;
  int64_t max_rows_;
  int64_t group_heads_;  // heads whose queries are in memory at a time
  float* queries_;       // [max_rows][group_heads * key_dims]
  float** query_pointers_;
  std::vector<Scratch> scratch_;  // by thread
};

}  // namespace sluice

#endif  // SLUICE_SRC_MODEL_MLA_EXPANDED_H_
