#pragma once

#include <string>

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

namespace finetuned {

// Makes calls that no stub would make: of any method, with any bytes and any headers.
class RawCaller {
 public:
  explicit RawCaller(const std::string& address)
      : stub_(grpc::CreateChannel(address, grpc::InsecureChannelCredentials())) {}

  grpc::Status Call(grpc::ClientContext* context, const std::string& method,
                    const std::string& bytes) {
    grpc::Slice slice(bytes);
    const grpc::ByteBuffer request(&slice, 1);
    grpc::ByteBuffer response;
    grpc::CompletionQueue queue;
    const auto call = stub_.PrepareUnaryCall(context, method, request, &queue);
    call->StartCall();
    grpc::Status status;
    call->Finish(&response, &status, this);
    void* tag;
    bool ok;
    queue.Next(&tag, &ok);
    return status;
  }

 private:
  grpc::GenericStub stub_;
};

}  // namespace finetuned
