"""Runs contrib/clickhouse in chdb: ClickHouse's engine as a library.

Usage: clickhouse.py CONTRIB DASHBOARD BOOTSTRAP EVENTS FINDINGS WINDOW

Makes the tables and steps of CONTRIB, reads the topic of Kafka at BOOTSTRAP until all EVENTS are
there, judges all of them with WINDOW seconds, writes the table of findings to FINDINGS, and runs
the query behind each panel of DASHBOARD. The last line of its output says what was measured, and
how many rows each panel has.
"""

import json
import pathlib
import re
import resource
import sys
import tempfile
import time

from chdb import session

# The consumer may read nothing new for so many seconds: it joins its group, or writes a block.
LONGEST = 120


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


def consume(clickhouse, path, bootstrap, events):
    """Makes what kafka.sql has, and takes it away again when all events were read."""
    for statement in statements(path):
        try:
            clickhouse.query(statement.replace("kafka.example:9092", bootstrap))
        except Exception as error:
            # chdb 4.4.0 says this of every table of Kafka when the table and its consumers are
            # made, and they work. Any other error is one of the statement.
            if "ENGINE = Kafka" not in statement or "Shutdown was called" not in str(error):
                raise
    read, changed = 0, time.monotonic()
    while read < events:
        time.sleep(0.2)
        before, read = read, int(str(clickhouse.query("SELECT uniqExact(id) FROM kreset.events", "TSV")))
        if read != before:
            changed = time.monotonic()
        elif time.monotonic() - changed > LONGEST:
            sys.exit(f"{read} of {events} events were read, and no more for {LONGEST} s")
    # Waits until the last block is in every table.
    for table in ["lines_from_topic", "topic"]:
        clickhouse.query(f"DROP TABLE kreset.{table} SYNC")


def main():
    contrib, dashboard, bootstrap, events, findings, window = sys.argv[1:7]
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
    consume(clickhouse, pathlib.Path(contrib) / "kafka.sql", bootstrap, int(events))
    seconds["kafka"] = time.monotonic() - begin
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
