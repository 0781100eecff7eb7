// What a request asks the model to continue: a conversation, a text or tokens.
#ifndef SLUICE_SRC_BATCH_BATCH_PROMPT_H_
#define SLUICE_SRC_BATCH_BATCH_PROMPT_H_

#include "src/batch/batch_request.h"
#include "src/batch/untrusted_json.h"

namespace sluice {

// Both return false after saying why in the body's error.

// `messages`. Text parts of one message are joined by line ends; "developer" is
// taken as "system".
bool ReadMessages(const JsonFields& body, BatchRequest* request);

// `prompt`: text or token ids, also as a list of one.
bool ReadPrompt(const JsonFields& body, BatchRequest* request);

}  // namespace sluice

#endif  // SLUICE_SRC_BATCH_BATCH_PROMPT_H_
