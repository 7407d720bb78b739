#pragma once

#include <string>

#include "artifacts/artifact_store.h"
#include "worker/attempt_dir.h"
#include "worker/attempt_rules.h"

namespace finetuned {

// What a trainer that has ended left to say: the end of its standard error, which lies at this path
// beneath the artifact root, and its error file. What cannot be read is empty.
LastWords ReadLastWords(const ArtifactStore& store, const std::string& stderr_path,
                        const AttemptDir& dir);

}  // namespace finetuned
