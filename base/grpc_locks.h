#pragma once

namespace finetuned {

// gRPC's locks are Abseil's, and Debian's Abseil is built to look for circles among those that are
// held, at each of them, in one graph for the whole process. This stops it
// (docs/adr/0029-no-deadlock-detection-in-grpc.md). To be called before gRPC is used.
void StopDeadlockDetection();

}  // namespace finetuned
