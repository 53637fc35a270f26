"""Writes many events to standard output: for measuring how fast a report is made of them.

Arguments: EVENTS COUNT. EVENTS has lines of `--format json`, which are repeated with other ids,
times (spread over a week), clients and, of 24 brokers, others.
"""

import datetime
import json
import sys

WEEK_NS = 7 * 86_400 * 1_000_000_000
BEGIN = datetime.datetime(2026, 11, 23, tzinfo=datetime.timezone.utc)


def templates(path):
    """The parts of each finding between what changes."""
    found = []
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            event = json.loads(line)
            if event["type"] not in ("reset", "close", "timeout"):
                continue
            event["id"], event["time"] = "@id@", "@time@"
            event["client"]["address"] = "@client@"
            event["broker"]["address"] = "@broker@"
            found.append(json.dumps(event, separators=(",", ":")))
    return found


def main():
    found, count = templates(sys.argv[1]), int(sys.argv[2])
    for number in range(count):
        at = BEGIN + datetime.timedelta(microseconds=WEEK_NS * number // count // 1_000)
        text = found[number * 7 % len(found)]
        text = text.replace("@id@", f"large-{number}", 1)
        text = text.replace("@time@", at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"), 1)
        text = text.replace("@client@", f"10.{number % 5}.{number % 40}.{number % 200 + 1}", 1)
        text = text.replace("@broker@", f"10.200.0.{number % 24 + 1}", 1)
        sys.stdout.write(text + "\n")


if __name__ == "__main__":
    main()
