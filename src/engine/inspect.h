// What a model file holds and what it would cost to run, from its header alone.
#ifndef SLUICE_SRC_ENGINE_INSPECT_H_
#define SLUICE_SRC_ENGINE_INSPECT_H_

#include "nlohmann/json.hpp"
#include "storage/model_files.h"

namespace sluice {

// Container facts for any file; the model's numbers when its architecture is
// supported, else "supported": false with the reason.
nlohmann::ordered_json Inspect(const ModelFiles& files);

// One object per tensor: name, type, dims, file, offset, bytes.
nlohmann::ordered_json InspectTensors(const ModelFiles& files);

}  // namespace sluice

#endif  // SLUICE_SRC_ENGINE_INSPECT_H_
