// A token that was generated, with what an answer may have to tell about it.
#ifndef SLUICE_SRC_BATCH_CHOSEN_TOKEN_H_
#define SLUICE_SRC_BATCH_CHOSEN_TOKEN_H_

#include <cstdint>
#include <vector>

namespace sluice {

struct TokenLogprob {
  int32_t token = 0;
  float logprob = 0;  // natural, of the model's own distribution: temperature 1, nothing cut
};

struct ChosenToken {
  int32_t token = 0;
  float logprob = 0;              // 0 unless the request asks for logprobs
  std::vector<TokenLogprob> top;  // the likeliest, as many as the request asks for
};

}  // namespace sluice

#endif  // SLUICE_SRC_BATCH_CHOSEN_TOKEN_H_
