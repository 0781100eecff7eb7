// How a command reads a model's drive: as measured earlier, as measured now, or as
// usual. The only place that knows where the user keeps caches.
#ifndef SLUICE_SRC_CLI_READ_PATTERNS_H_
#define SLUICE_SRC_CLI_READ_PATTERNS_H_

#include "absl/types/optional.h"
#include "src/cli/progress.h"
#include "src/engine/engine.h"
#include "src/engine/pattern_cache.h"

namespace sluice {

// $XDG_CACHE_HOME/sluice, else $HOME/.cache/sluice; none when neither is an
// absolute path.
absl::optional<PatternCache> UserPatternCache();

// Takes the pattern that is kept for the drive. Where none is, the drive is
// measured for some two seconds and the result kept, if there is a place to keep
// it and the model is large enough to be read again and again.
EngineOptions::ChoosePattern ReadPatternChooser(Progress* progress);

}  // namespace sluice

#endif  // SLUICE_SRC_CLI_READ_PATTERNS_H_
