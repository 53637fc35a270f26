"""Runs contrib/flink as batch jobs of a Flink in this process.

Usage: flink.py CONTRIB JARS BOOTSTRAP WINDOW

Reads the topic of Kafka at BOOTSTRAP to its end, judges all of it with WINDOW seconds, and writes
findings to their topic. JARS is the directory with Kafka's connector. The last line of its output
says what was measured.
"""

import json
import os
import pathlib
import re
import resource
import sys
import tempfile
import time

from pyflink.common import Configuration
from pyflink.table import EnvironmentSettings, TableEnvironment


def statements(path):
    """The statements of a file, without comments."""
    text = re.sub(r"--[^\n]*", "", path.read_text())
    return [statement.strip() for statement in text.split(";") if statement.strip()]


def peak_kb():
    """The largest resident size of this process and of the Java that it started."""
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for directory in pathlib.Path("/proc").iterdir():
        if not directory.name.isdigit():
            continue
        try:
            status = (directory / "status").read_text()
        except OSError:
            continue
        if re.search(rf"^PPid:\s+{os.getpid()}$", status, re.M):
            size = re.search(r"^VmHWM:\s+(\d+) kB", status, re.M)
            largest += int(size.group(1)) if size else 0
    return largest


def main():
    contrib, jars, bootstrap, window = sys.argv[1:5]
    directory = tempfile.TemporaryDirectory()
    configuration = Configuration()
    for name, value in {
        "pipeline.jars": ";".join(f"file://{jar}" for jar in sorted(pathlib.Path(jars).glob("*.jar"))),
        "table.local-time-zone": "UTC",
        "parallelism.default": "2",
        "taskmanager.numberOfTaskSlots": "2",
        # In one process these two must be equal.
        "taskmanager.memory.network.min": "256mb",
        "taskmanager.memory.network.max": "256mb",
        "taskmanager.memory.managed.size": "1024mb",
        "io.tmp.dirs": directory.name,
    }.items():
        configuration.set_string(name, value)
    settings = EnvironmentSettings.new_instance().in_batch_mode().with_configuration(configuration).build()
    flink = TableEnvironment.create(settings)

    (pathlib.Path(directory.name) / "runs").mkdir()
    changes = {
        "kafka.example:9092": bootstrap,
        "file:///var/lib/kreset-flink": f"file://{directory.name}",
    }
    seconds = {}
    begin = time.monotonic()
    for name in ["tables.sql", "correlate.sql"]:
        for statement in statements(pathlib.Path(contrib) / name):
            for shipped, ours in changes.items():
                statement = statement.replace(shipped, ours)
            if "VIEW kreset_scope" in statement:
                statement = (
                    "CREATE TEMPORARY VIEW kreset_scope AS SELECT CAST(0 AS BIGINT) AS judge_from_ns,"
                    " 9223372036854775807 AS judge_until_ns,"
                    f" CAST({int(window)} AS BIGINT) * 1000000000 AS window_ns"
                )
            before = time.monotonic()
            try:
                result = flink.execute_sql(statement)
                inserted = re.match(r"INSERT \w+ (\w+)", statement)
                if inserted:
                    result.wait()
                    seconds[inserted.group(1)] = round(time.monotonic() - before, 2)
            except Exception:
                print(statement, file=sys.stderr)
                raise
    print(json.dumps({"seconds": time.monotonic() - begin, "steps": seconds, "peak_kb": peak_kb()}))


if __name__ == "__main__":
    main()
