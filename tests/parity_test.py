#!/usr/bin/env python3
"""docs/parity.md names tests that are there, leaves nothing of the original out, and has no row open.

Needs nothing built. Whether a test shows what its row says is for a reader to judge.
"""
import ast
import pathlib
import re
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/parity.md"

# The package databricks-genai 1.2.0a24: what `foundation_model` exports; `delete` is of 1.0.0.
FUNCTIONS = "cancel create get get_checkpoints get_events get_models list delete".split()
# The same: the parameters of `create` and of `list`.
CREATE_ARGUMENTS = """model train_data_path register_to experiment_path task_type eval_data_path eval_prompts
    custom_weights_path training_duration learning_rate context_length validate_inputs data_prep_cluster_id""".split()
LIST_ARGUMENTS = "training_runs statuses user_emails before after include_details limit".split()
# The product's page on viewing, managing and analysing runs: the table of optional filters.
PAGE_FILTERS = "finetuning_runs user_emails before after".split()
# databricks-genai: the fields of `TrainingRun`, and its methods.
TRAINING_RUN = """name status created_by model save_folder train_data_path register_to submitted_experiment_path
    task_type eval_data_path eval_prompts custom_weights_path training_duration learning_rate context_length
    data_prep_cluster_id details created_at started_at estimated_end_time formatted_eta completed_at submitted_config
    events experiment_id run_id run_progress refresh cancel get_events""".split()
# databricks-genai: `RunStatus`, in its order.
STATUSES = "UNKNOWN PENDING QUEUED STARTING RUNNING TERMINATING COMPLETED STOPPED FAILED".split()
# The product's page: the table of event types.
EVENTS = """CREATED STARTED DATA_VALIDATED MODEL_INITIALIZED TRAIN_UPDATED TRAIN_FINISHED COMPLETED CANCELED
    FAILED""".split()
# llm-foundry: the classes of `utils/exceptions.py` that users saw behind FAILED.
TRAINING_ERRORS = """UnknownExampleTypeError NotEnoughDatasetSamplesError NotEnoughChatDataError
    ConsecutiveRepeatedChatRolesError InvalidLastChatMessageRoleError IncorrectMessageKeyQuantityError InvalidRoleError
    InvalidContentTypeError InvalidPromptTypeError InvalidResponseTypeError InvalidFileExtensionError
    CannotUnicodeDecodeFile DatasetTooSmallError InvalidDatasetError MisconfiguredHfDatasetError ChatTemplateError
    InputFolderMissingDataError OutputFolderNotEmptyError StoragePermissionError InsufficientPermissionsError
    DeltaTableNotFoundError UCNotEnabledError ClusterDoesNotExistError FaultyDataPrepCluster RunTimeoutError
    LossSpikeError HighLossError""".split()
# The product's page: the folders and files of a run's checkpoints.
FILES = ["ep<n>-xxx/", "huggingface/", "checkpoints/latest-sharded-rank0.symlink"]

COUNTS = re.compile(r"There are (\d+) rows; none is open. (\d+) have a part")
TEST = re.compile(r"`([\w/]+\.(?:cc|py)):(\w+)\.(\w+)`")
BEGIN = re.compile(r"`(?:fm\.)?([\w<>/.-]+)(?:[(=][^`]*)?`")
CALL = re.compile(r"`((?:Get|List|Create|Cancel|Pause|Resume|Watch|Delete|Update|Read)[A-Z]\w+)`")
CLIENT = re.compile(r"\*(?:SDK|Web): [^*]+\*")
# Where the codes of errors are that the page names.
SOURCES = ("proto/finetuned/v1/*.proto", "daemon/*.cc", "worker/*.cc", "queue/*.cc", "base/*.h", "base/*.cc",
           "trainer/*.py", "cli/*.cc")


def read_rows():
    """{heading: [(original, here, test), ...]}, and whatever line of a table is no such row."""
    tables, broken, heading, header = {}, [], "", True
    for line in PAGE.read_text().splitlines():
        if line.startswith("## "):
            heading = line[3:]
        if not line.startswith("|"):
            header = True
            continue
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) != 3 or not all(cells):
            broken.append(line)
        elif header:
            header = cells != ["---"] * 3
        else:
            tables.setdefault(heading, []).append(tuple(cells))
    return tables, broken


def block(text, kind, name):
    """The body of a message or an enum, without what is nested in it."""
    body = re.search(rf"^( *){kind} {name} {{\n(.*?)^\1}}", text, re.M | re.S)
    return re.sub(r"^( +)(?:message|enum) \w+ {\n.*?^\1}\n", "", body[2], flags=re.M | re.S)


def fields_of(text, message):
    return re.findall(r"^ +(?:optional |repeated )?(?:map<[^>]+>|[\w.]+) (\w+) = \d+", block(text, "message", message),
                      re.M)


def values_of(text, enum):
    return [value for value in re.findall(r"^ +([A-Z][A-Z0-9_]*) = \d+;", block(text, "enum", enum), re.M)
            if not value.endswith("_UNSPECIFIED")]


def tests_of(path):
    """(suite or class, name) of the tests in a file; of one that is not there, or that nothing runs, none."""
    if not path.name.endswith("_test" + path.suffix) or not path.exists():
        return set()
    text = path.read_text()
    if path.suffix == ".cc":
        return set(re.findall(r"^TEST(?:_F|_P)?\(\s*(\w+),\s*(\w+)\s*\)", text, re.M))
    return {(one.name, method.name) for one in ast.parse(text).body if isinstance(one, ast.ClassDef)
            for method in one.body if isinstance(method, ast.FunctionDef) and method.name.startswith("test")}


def proto(name):
    return (ROOT / "proto/finetuned/v1" / f"{name}.proto").read_text()


class ParityTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.tables, cls.broken = read_rows()
        cls.rows = [row for rows in cls.tables.values() for row in rows]

    def begins(self, table):
        """The names that the rows of a table begin with, without `fm.`, arguments and values."""
        return {found[1] for found in (BEGIN.match(row[0]) for row in self.tables[table]) if found}

    def check_has(self, table, names):
        self.assertEqual([name for name in names if name not in self.begins(table)], [], f"no rows of {table}")

    # ---- The form.

    def test_every_row_has_three_cells_and_stands_once(self):
        self.assertEqual(self.broken, [])
        self.assertGreater(len(self.rows), 150)
        originals = [(table, row[0]) for table, rows in self.tables.items() for row in rows]
        self.assertEqual([one for one in originals if originals.count(one) > 1], [])

    def test_every_row_names_tests(self):
        wrong = [row for row in self.rows if not all(TEST.fullmatch(part) for part in row[2].split(", "))]
        self.assertEqual(wrong, [])

    def test_the_first_paragraph_counts_the_rows(self):
        client = [row for row in self.rows if CLIENT.search(row[1])]
        first = PAGE.read_text().split("\n\n")[1]
        counted = COUNTS.search(first)
        self.assertIsNotNone(counted, first)
        self.assertEqual(tuple(map(int, counted.groups())), (len(self.rows), len(client)))

    # ---- The tests.

    def test_every_test_that_is_named_is_there(self):
        named = {found for row in self.rows for found in TEST.findall(row[2])}
        self.assertGreater(len(named), 80)
        there = {file: tests_of(ROOT / file) for file, _, _ in named}
        self.assertEqual([f"{file}:{suite}.{name}" for file, suite, name in sorted(named)
                          if (suite, name) not in there[file]], [])

    # ---- The original.

    def test_the_original_is_there_to_the_last_name(self):
        self.check_has("Functions of fm", FUNCTIONS)
        self.check_has("Arguments of create", CREATE_ARGUMENTS)
        self.check_has("Filters of list", LIST_ARGUMENTS + PAGE_FILTERS)
        self.check_has("Fields of TrainingRun", TRAINING_RUN)
        self.check_has("Statuses", STATUSES)
        self.check_has("Events", EVENTS)
        self.check_has("Errors in training", TRAINING_ERRORS)
        self.check_has("Checkpoints and artifacts", FILES)

    # ---- What is here.

    def test_every_field_of_a_specification_and_every_kind_of_event_is_there(self):
        here = " ".join(row[1] for row in self.rows)
        fields = fields_of(proto("run"), "RunSpec")
        self.assertGreater(len(fields), 15)
        self.assertEqual([field for field in fields if f"`RunSpec.{field}`" not in here], [])
        text = " ".join(cell for row in self.rows for cell in row[:2])
        types = values_of(proto("event"), "Type")
        self.assertGreater(len(types), 15)
        self.assertEqual([value for value in types if f"`{value}`" not in text], [])

    def test_messages_fields_and_calls_that_are_named_are_there(self):
        texts = [path.read_text() for path in sorted((ROOT / "proto/finetuned/v1").glob("*.proto"))]
        members = {}
        for text in texts:
            for name in re.findall(r"^message (\w+) {\n", text, re.M):
                members[name] = set(fields_of(text, name)) | set(re.findall(rf"^  enum (\w+)", text, re.M))
            for name, body in re.findall(r"^service (\w+) {\n(.*?)^}", text, re.M | re.S):
                members[name] = set(re.findall(r"rpc (\w+)\(", body))
        calls = {call for name, found in members.items() if name.endswith("Service") for call in found}
        wrong = []
        for _, here, _ in self.rows:
            for name, member in re.findall(r"`([A-Z]\w+)\.(\w+)`", here):
                if member not in members.get(name, ()):
                    wrong.append(f"{name}.{member}")
            wrong += [call for call in CALL.findall(here) if call not in calls and call not in members]
        self.assertEqual(wrong, [])

    def test_codes_that_are_named_are_in_the_source(self):
        source = " ".join(path.read_text() for pattern in SOURCES for path in sorted(ROOT.glob(pattern)))
        words = set(re.findall(r"\b[A-Z][A-Z0-9_]+\b", source))
        named = {code for row in self.rows for code in re.findall(r"`([A-Z][A-Z0-9_]{3,})`", row[1])}
        self.assertGreater(len(named), 50)
        self.assertEqual(sorted(named - words), [])


if __name__ == "__main__":
    unittest.main(verbosity=2)
