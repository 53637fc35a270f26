"""Runs contrib/clickhouse in chdb: ClickHouse's engine as a library.

Usage: clickhouse.py CONTRIB DASHBOARD RECORDS FINDINGS WINDOW

Makes the tables and steps of CONTRIB, reads RECORDS (a JSON event a line), judges all of it with
WINDOW seconds, writes the table of findings to FINDINGS, and runs the query behind each panel of
DASHBOARD. The last line of its output says what was measured, and how many rows each panel has.
"""

import json
import pathlib
import re
import resource
import sys
import tempfile
import time

from chdb import session


def statements(path):
    """The statements of a file, without comments."""
    text = re.sub(r"--[^\n]*", "", path.read_text())
    return [statement.strip() for statement in text.split(";") if statement.strip()]


def panels(dashboard):
    """The title of each panel, and its query, as Grafana would send it for all times."""
    for panel in json.loads(pathlib.Path(dashboard).read_text())["panels"]:
        for target in panel["targets"]:
            query = target["rawSql"]
            query = re.sub(r"\$__timeFilter\((\w+)\)", r"\1 >= toDateTime(0) AND \1 <= toDateTime(4000000000)", query)
            query = re.sub(r"\$__timeInterval\((\w+)\)", r"toStartOfInterval(toDateTime(\1), INTERVAL 60 second)", query)
            yield panel["title"], query


def main():
    contrib, dashboard, records, findings, window = sys.argv[1:6]
    directory = tempfile.TemporaryDirectory()
    clickhouse = session.Session(directory.name)
    steps = []
    for name in ["tables.sql", "correlate.sql"]:
        for statement in statements(pathlib.Path(contrib) / name):
            # Each step runs when the one before has ended, and not by the clock as well.
            timed = statement.replace("REFRESH EVERY 1 MINUTE", "REFRESH EVERY 1 YEAR")
            if timed != statement:
                steps.append(re.search(r"EXISTS (kreset\.\w+)", statement).group(1))
            clickhouse.query(timed)
    clickhouse.query(
        "CREATE OR REPLACE VIEW kreset.scope AS SELECT toInt64(0) AS from_ns,"
        " toInt64(0) AS judge_from_ns, 9223372036854775807 AS judge_until_ns,"
        f" toInt64({int(window)}) * 1000000000 AS window_ns"
    )

    seconds = {}
    begin = time.monotonic()
    clickhouse.query(
        f"INSERT INTO kreset.lines SELECT line FROM file('{records}', LineAsString, 'line String')"
    )
    seconds["insert"] = time.monotonic() - begin
    for step in steps:
        before = time.monotonic()
        clickhouse.query(f"SYSTEM REFRESH VIEW {step}")
        # Fails with the step's own error.
        clickhouse.query(f"SYSTEM WAIT VIEW {step}")
        seconds[step] = time.monotonic() - before
    total = time.monotonic() - begin

    clickhouse.query(
        f"SELECT * FROM kreset.findings FINAL INTO OUTFILE '{findings}' TRUNCATE FORMAT JSONEachRow"
        " SETTINGS output_format_json_quote_64bit_integers = 0"
    )
    rows = {
        title: str(clickhouse.query(query, "TSV")).count("\n") for title, query in panels(dashboard)
    }
    unusable = clickhouse.query("SELECT count() FROM kreset.unusable", "TSV")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        json.dumps(
            {
                "seconds": total,
                "steps": {name: round(value, 2) for name, value in seconds.items()},
                "peak_kb": peak,
                "unusable": int(str(unusable)),
                "panels": rows,
            }
        )
    )


if __name__ == "__main__":
    main()
