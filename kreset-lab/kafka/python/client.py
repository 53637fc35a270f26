"""librdkafka, which takes commands line by line on standard input.

Arguments: producer|consumer|admin|transactions TOPIC KEY=VALUE.... Answers begin with "@", all else
is the client's own log. The end of standard input ends the client at once.
"""

import os
import sys
import threading
import time

from confluent_kafka import Consumer, KafkaException, Producer
from confluent_kafka.admin import AdminClient

# As long as the lab waits for an answer, or nearly.
PATIENCE = 150


class Client:
    def __init__(self, job, topic, settings):
        self.job, self.topic = job, topic
        make = {
            "producer": Producer,
            "transactions": Producer,
            "consumer": Consumer,
            "admin": AdminClient,
        }[job]
        self.client = make(settings)
        # librdkafka reports what became of records when it is asked to.
        self.lock = threading.Lock()
        if job == "consumer":
            self.client.subscribe([topic])

    def hello(self):
        if self.job == "transactions":
            self.client.init_transactions(PATIENCE)
        found = self.client.list_topics(self.topic, timeout=PATIENCE)
        return f"partitions {len(found.topics[self.topic].partitions)}"

    def send(self, count, size):
        problems = []

        def delivered(error, _message):
            if error is not None:
                problems.append(error)

        if self.job == "transactions":
            self.client.begin_transaction()
        for _ in range(count):
            self.client.produce(self.topic, bytes(size), on_delivery=delivered)
        left = self.client.flush(PATIENCE)
        if problems:
            raise KafkaException(problems[0])
        if left:
            raise TimeoutError(f"{left} records were not delivered in {PATIENCE} s")
        if self.job == "transactions":
            self.client.commit_transaction(PATIENCE)
        return count

    def poll(self, millis):
        end = time.monotonic() + millis / 1000
        count = 0
        while time.monotonic() < end:
            message = self.client.poll(0.1)
            if message is not None and message.error() is None:
                count += 1
        return count

    def close(self):
        if self.job == "consumer":
            self.client.close()
        elif self.job != "admin":
            self.client.flush(PATIENCE)
        self.client = None
        return ""


def say(what, action, *arguments):
    try:
        print(f"@{what} {action(*arguments)}", flush=True)
    except Exception as failure:  # Whatever the client says is what the lab wants to know.
        print(f"@failed {type(failure).__name__}: {failure}", flush=True)


def main():
    settings = dict(setting.split("=", 1) for setting in sys.argv[3:])
    box = []

    def open_client():
        box.append(Client(sys.argv[1], sys.argv[2], settings))
        return sys.argv[1]

    say("begun", open_client)
    if not box:
        return
    client = box[0]
    for line in sys.stdin:
        word, *numbers = line.split()
        numbers = [int(number) for number in numbers]
        if word == "hello":
            say("hello", client.hello)
        elif word == "send":
            say("sent", client.send, *numbers)
        elif word == "poll":
            say("polled", client.poll, *numbers)
        elif word == "close":
            say("closed", client.close)
            return
        else:
            print(f"@failed no such command: {line}", flush=True)
    # No goodbyes: the lab is gone.
    os._exit(1)


main()
