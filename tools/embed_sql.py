#!/usr/bin/env python3
"""Turns the SQL of db/ into C++ constants.

    embed_sql.py OUTPUT.h QUERIES_DIR MIGRATIONS_DIR GRANTS.sql

A query is a block `-- name: some_name` up to the next one; it becomes kSomeName, whose name is also that of the
prepared statement, the metric's label and the log's field. Comments stay with the reader: they are not sent.
"""
import pathlib
import re
import sys


def literal(text: str) -> str:
    if ')sql"' in text:
        raise SystemExit("embed_sql: the text contains the delimiter of a raw string")
    return f'R"sql({text})sql"'


def queries(folder: pathlib.Path):
    seen = set()
    for file in sorted(folder.glob("*.sql")):
        blocks = re.split(r"^-- name: *", file.read_text(), flags=re.M)
        if blocks[0].strip():
            raise SystemExit(f"{file}: text before the first `-- name:`")
        for block in blocks[1:]:
            name, body = block.split("\n", 1)
            name = name.strip()
            if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
                raise SystemExit(f"{file}: `{name}` is not a name of a query")
            if name in seen:
                raise SystemExit(f"{file}: `{name}` is there twice")
            seen.add(name)
            sql = "\n".join(line for line in body.splitlines() if not line.lstrip().startswith("--")).strip()
            yield name, sql


def main() -> None:
    output, query_dir, migration_dir, grants = (pathlib.Path(arg) for arg in sys.argv[1:5])
    out = ["// Made by tools/embed_sql.py from db/; do not edit.", "#pragma once", "",
           '#include "db/query.h"', "", "namespace finetuned {", ""]
    names = []
    for name, sql in queries(query_dir):
        constant = "k" + "".join(part.capitalize() for part in name.split("_"))
        names.append(constant)
        out.append(f'inline constexpr Query {constant}{{"{name}", {literal(sql)}}};')
    out += ["", "inline constexpr const Query* kAllQueries[] = {"]
    out += [f"    &{name}," for name in names] + ["};", ""]
    out.append("inline constexpr Migration kMigrations[] = {")
    for number, file in enumerate(sorted(migration_dir.glob("*.sql")), start=1):
        text = file.read_text()
        match = re.fullmatch(r"(\d{4})_([a-z0-9_]+)", file.stem)
        first = text.split("\n", 1)[0]
        if not match or int(match[1]) != number:
            raise SystemExit(f"{file}: migrations are numbered 0001, 0002, ... without a gap")
        if first not in ("-- compatible", "-- breaking"):
            raise SystemExit(f"{file}: the first line is `-- compatible` or `-- breaking`")
        breaking = "true" if first == "-- breaking" else "false"
        out.append(f'    {{{number}, "{match[2]}", {breaking}, {literal(text)}}},')
    out += ["};", "", f"inline constexpr const char* kGrants = {literal(grants.read_text())};",
            "", "}  // namespace finetuned", ""]
    output.write_text("\n".join(out))


if __name__ == "__main__":
    main()
