#include "cli/grammar_examples.h"

#include "absl/strings/str_cat.h"

namespace finetuned::cli {
namespace {

struct Example {
  const char* path;
  const char* line;
};

constexpr Example kExamples[] = {
    {"run create",
     "finetune run create --model finetuned/tiny-llama --train-data chat.jsonl --duration 1ep\n"
     "  finetune run create -f run.yaml --name another --watch"},
    {"run clone", "finetune run clone my-run --learning-rate 2e-5 --name my-run-2"},
    {"run diff", "finetune run diff my-run my-run-2"},
    {"run get", "finetune run get my-run -o yaml"},
    {"run list", "finetune run list --state running,pending --after 2h"},
    {"run watch", "finetune run watch my-run --exit-status"},
    {"run events", "finetune run events my-run --after 10 -o jsonl"},
    {"run logs", "finetune run logs my-run -f --tail 50"},
    {"run checkpoints", "finetune run checkpoints my-run -o name"},
    {"run update", "finetune run update my-run --priority high --label team=search"},
    {"run attempts", "finetune run attempts my-run -o wide"},
    {"run metrics", "finetune run metrics my-run --metric lr,tokens_per_second"},
    {"run pause", "finetune run pause my-run --reason 'the GPUs are needed elsewhere'"},
    {"run resume", "finetune run resume my-run"},
    {"run cancel", "finetune run cancel my-run --reason 'wrong data'"},
    {"run delete", "finetune run delete my-run"},
    {"run wait", "finetune run wait my-run --timeout 2h"},
    {"experiment list", "finetune experiment list --limit 20"},
    {"experiment get", "finetune experiment get /Shared/tune"},
    {"model list", "finetune model list"},
    {"model registered", "finetune model registered -o name"},
    {"model get", "finetune model get main.default.mine"},
    {"model download", "finetune model download main.default.mine --version 2 --to ./mine"},
    {"artifacts list", "finetune artifacts list my-run -r"},
    {"artifacts download", "finetune artifacts download my-run my-run/checkpoints/huggingface"},
    {"workspace get", "finetune workspace get"},
    {"workspace update",
     "finetune workspace update --share-runs true\n"
     "  finetune workspace update --keep-logs 30d --keep-metrics 365d --keep-events forever"},
    {"quota", "finetune quota"},
    {"queue", "finetune queue --sort place"},
    {"events", "finetune events --follow --new --type completed,failed"},
    {"worker list", "finetune worker list"},
    {"worker get", "finetune worker get gpu-1"},
    {"worker drain", "finetune worker drain gpu-1 --stop-runs"},
    {"context list", "finetune context list"},
    {"context use", "finetune context use prod"},
    {"context set", "finetune context set prod --server 127.0.0.1:7070 --token-file ~/token"},
    {"context view", "finetune context view --show-origin"},
    {"completion",
     "source <(finetune completion bash)      # in ~/.bashrc\n"
     "  source <(finetune completion zsh)       # in ~/.zshrc, behind compinit\n"
     "  finetune completion fish >~/.config/fish/completions/finetune.fish"},
    {"doctor", "finetune doctor --context prod"},
    {"version", "finetune version"},
    {"get runs", "finetune get runs --state running"},
    {"get run", "finetune get run my-run"},
    {"get experiments", "finetune get experiments"},
    {"get experiment", "finetune get experiment /Shared/tune"},
    {"get models", "finetune get models"},
    {"describe run", "finetune describe run my-run"},
    {"stop run", "finetune stop run my-run"},
    {"delete run", "finetune delete run my-run"},
    {"logs", "finetune logs my-run -f"},
    {"list", "finetune list --after yesterday"},
    {"watch", "finetune watch my-run"},
};

void AddBeneath(CLI::App& app, const std::string& path) {
  for (CLI::App* each : app.get_subcommands([](const CLI::App*) { return true; })) {
    const std::string inner = absl::StrCat(path, path.empty() ? "" : " ", each->get_name());
    const std::string example = ExampleOf(inner);
    if (!example.empty()) each->footer(absl::StrCat("Example:\n  ", example));
    AddBeneath(*each, inner);
  }
}

}  // namespace

void AddExamples(CLI::App& app) { AddBeneath(app, ""); }

std::string ExampleOf(const std::string& path) {
  for (const Example& example : kExamples) {
    if (path == example.path) return example.line;
  }
  return "";
}

}  // namespace finetuned::cli
