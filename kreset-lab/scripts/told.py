"""Prints what somebody is told who has only the client's capture of each of the lab's scenarios.

Arguments: LAB TRACER DIRECTORY. LAB is the program kreset-lab, and DIRECTORY what its command
`run --further --keep DIRECTORY` left.
"""

import json
import pathlib
import re
import subprocess
import sys


def output(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def descriptions(lab):
    """What happens in each scenario."""
    form = re.compile(r"  (\S+) {2,}(.*?)(?: \[.*\])?$")
    lines = (form.match(line) for line in output(lab, "list").splitlines())
    return {line[1]: line[2] for line in lines if line}


def told(tracer, scenario):
    """The answers of `read`, and of the tracer on the client's host."""
    command = [tracer, "read", scenario / "client.pcap", "--format", "json", "--all"]
    if scenario.name.startswith("broker_idle_close"):
        # As the lab's brokers are configured there.
        command += ["--broker-max-idle", "3s"]
    said = (scenario / "client.jsonl").read_text(encoding="utf-8")
    return [answers(lines) for lines in (output(*command), said)]


def answers(lines):
    """Each answer, with its highest confidence and how often it was given."""
    found = {}
    for line in lines.splitlines():
        event = json.loads(line)
        if event["type"] not in ("reset", "close", "timeout"):
            continue
        verdict, cause = event["verdict"], event["cause"]
        name = f"{verdict}/{cause}" if cause else verdict
        confidence = event["confidence"] if cause else 0
        best, count = found.get(name, (0, 0))
        found[name] = (max(best, confidence), count + 1)
    return found


def words(found):
    """Answers for a table; 100% is never sure, as on text output."""
    parts = []
    for name, (confidence, count) in found.items():
        share = f" {int(confidence * 100)}%" if confidence else ""
        parts.append(f"`{name}`{share}" + (f" ({count} times)" if count > 1 else ""))
    return ", ".join(parts) or "nothing"


def main():
    lab, tracer, directory = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3])
    happens = descriptions(lab)
    print("| scenario | what happens | `read client.pcap` says | the tracer there said |")
    print("|---|---|---|---|")
    for scenario in sorted(directory.iterdir()):
        if (scenario / "client.pcap").exists():
            read, live = told(tracer, scenario)
            name = scenario.name
            what = happens.get(name.split(".")[0], "")
            same = "the same" if set(read) == set(live) else words(live)
            print(f"| `{name}` | {what} | {words(read)} | {same} |")


if __name__ == "__main__":
    main()
