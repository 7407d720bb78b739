#include <ostream>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "cli/commands/commands.h"
#include "cli/errors.h"
#include "cli/print_json.h"
#include "cli/run_diff.h"
#include "cli/run_text.h"
#include "cli/table.h"

namespace finetuned::cli {
namespace {

using Json = nlohmann::ordered_json;

constexpr char kEvalLoss[] = "eval/loss";

absl::StatusOr<ComparedRun> Fetch(Session& session, const std::string& name) {
  session.set_run(name);
  FT_ASSIGN_OR_RETURN(Client* const client, session.GetClient());
  ComparedRun compared;
  v1::GetRunRequest get;
  get.set_name(name);
  FT_ASSIGN_OR_RETURN(compared.run, client->GetRun(get));
  v1::ListCheckpointsRequest list;
  list.set_name(name);
  FT_ASSIGN_OR_RETURN(const auto checkpoints, client->ListCheckpoints(list));
  if (!checkpoints.checkpoints().empty()) {
    const auto& metrics = checkpoints.checkpoints(0).metrics();
    if (const auto loss = metrics.find(kEvalLoss); loss != metrics.end()) {
      compared.eval_loss = loss->second;
    }
  }
  return compared;
}

}  // namespace

absl::StatusOr<int> DiffRuns(Session& session, const DiffFlags& flags) {
  FT_RETURN_IF_ERROR(session.RequireFormat(
      {OutputFormat::kTable, OutputFormat::kJson, OutputFormat::kJsonl, OutputFormat::kYaml}));
  FT_ASSIGN_OR_RETURN(const ComparedRun a, Fetch(session, flags.name));
  FT_ASSIGN_OR_RETURN(const ComparedRun b, Fetch(session, flags.other));
  const std::vector<Difference> differences = CompareRuns(a, b);
  std::ostream& out = session.io().out;
  Json list = Json::array();
  Table table({"FIELD", ShortName(a.run.name()), ShortName(b.run.name())});
  for (const Difference& difference : differences) {
    const Json object = {{"path", difference.path}, {"a", difference.a}, {"b", difference.b}};
    if (session.format() == OutputFormat::kJsonl) PrintJson(session, object);
    list.push_back(object);
    table.AddRow({difference.path, ValueText(difference.a), ValueText(difference.b)});
  }
  if (session.format() == OutputFormat::kTable) {
    // Never cut: paths are there to be copied.
    if (!differences.empty()) out << table.Render(session.color());
  } else if (session.format() != OutputFormat::kJsonl) {
    PrintJson(session, {{"a", a.run.name()},
                        {"b", b.run.name()},
                        {"equal", differences.empty()},
                        {"differences", list}});
  }
  out << std::flush;
  if (session.format() == OutputFormat::kTable && differences.empty()) {
    session.Note("The runs are the same in what they are and in what became of them.");
  }
  return kExitOk;
}

}  // namespace finetuned::cli
