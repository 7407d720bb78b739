#pragma once

// What lies in the folder of an attempt, `<run folder>/attempts/<epoch>`, beneath the artifact
// root.

namespace finetuned {

inline constexpr char kStdoutLogName[] = "stdout.log";
inline constexpr char kStderrLogName[] = "stderr.log";
// As metric_file.h says.
inline constexpr char kMetricFileName[] = "metrics";

inline constexpr const char* kLogFileNames[] = {kStdoutLogName, kStderrLogName};

}  // namespace finetuned
