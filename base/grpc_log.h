#pragma once

namespace finetuned {

// Has gRPC's own log written as lines of ours, so that a log is JSON throughout. What gRPC calls an
// error is mostly a peer's doing and logged as a warning; its debugging output is left out. To be
// called after InitLogging.
void RouteGrpcLog();

}  // namespace finetuned
