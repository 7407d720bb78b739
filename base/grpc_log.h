#pragma once

namespace finetuned {

// Has gRPC's own log written as lines of ours, so that a log is JSON throughout. What gRPC calls an
// error is mostly a peer's doing and logged as a warning; its debugging output is left out. To be
// called after InitLogging.
//
// `on_deaf` is called, on any thread, when a server of this process has found no file for a
// connection (EMFILE): gRPC 1.51 accepts none on that port from then on, however many files become
// free.
void RouteGrpcLog(void (*on_deaf)() = nullptr);

}  // namespace finetuned
