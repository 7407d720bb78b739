#pragma once

#include <cstddef>
#include <string>

#include "absl/status/statusor.h"
#include "db/identity.h"

// Names of resources, as callers may write them.

namespace finetuned {

// Bytes of an experiment's path, which stands in an index.
inline constexpr size_t kMaxExperimentPath = 1024;

// Whether text is `^[a-z][a-z0-9-]{0,61}[a-z0-9]$`: a DNS label that begins with a letter.
bool IsRunName(const std::string& text);

// `workspaces/{w}/runs/{r}`, `{r}` or a uid as the caller may write it. Returns the last part;
// NOT_FOUND for another workspace, as for a run that does not exist; INVALID_ARGUMENT for what can
// be no name.
absl::StatusOr<std::string> ParseRunName(const std::string& name, const Identity& caller);

// INVALID_ARGUMENT or NOT_FOUND unless it is the caller's own workspace, empty or `workspaces/-`.
absl::Status CheckParent(const std::string& parent, const Identity& caller);

// `name` is the last part.
absl::Status RunNotFound(const std::string& name);

// `workspaces/{w}/experiments/{uid}`, a uid, or a path, which begins with /, as the caller may
// write it in `field`. Returns the uid or the path; NOT_FOUND for another workspace;
// INVALID_ARGUMENT for what can be none of them.
absl::StatusOr<std::string> ParseExperimentName(const std::string& field, const std::string& name,
                                                const Identity& caller);

absl::Status ExperimentNotFound();

// `catalog.schema.model`; with `two_parts`, also `catalog.schema`. Each part of letters, digits, _
// and -, at most kMaxModelName bytes in all.
inline constexpr size_t kMaxModelName = 255;
bool IsRegisteredModel(const std::string& text, bool two_parts);

// `workspaces/{w}/registeredModels/{m}` or `{m}` as the caller may write it; returns the last part.
// Errors as ParseRunName.
absl::StatusOr<std::string> ParseRegisteredModelName(const std::string& name,
                                                     const Identity& caller);

absl::Status RegisteredModelNotFound(const std::string& name);

}  // namespace finetuned
