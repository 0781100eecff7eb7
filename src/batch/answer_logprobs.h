// `choices[0].logprobs` of an answer, as JSON text.
//
// Written token by token: a long answer's would be large as a tree. The tokens
// told are those that have a part in the text: not an end token, and none behind
// a stop string's beginning.
#ifndef SLUICE_SRC_BATCH_ANSWER_LOGPROBS_H_
#define SLUICE_SRC_BATCH_ANSWER_LOGPROBS_H_

#include <string>

#include "src/batch/completion.h"

namespace sluice {

// "null" unless the request asks for them.
std::string LogprobsJson(const Completion& completion, const Tokenizer& tokenizer);

}  // namespace sluice

#endif  // SLUICE_SRC_BATCH_ANSWER_LOGPROBS_H_
