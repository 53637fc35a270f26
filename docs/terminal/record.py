#!/usr/bin/env python3
"""Records the pictures of docs/stories.md and of the README: real runs, as a terminal shows them.

    sudo docs/terminal/record.py target/release/kreset-trace [STORY...]

Names are those of the stories, and `first` and `top` for the README.

Builds three network namespaces in a row (client, a NAT-like device with a short idle timer,
broker), runs small brokers and clients of its own in them, types into a tmux session, and
writes docs/terminal/*.svg and *.txt. Needs root, iproute2, nftables, tmux and Python.
"""

import os
import re
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
CLIENT, DEVICE, BROKER = "story-client", "story-device", "story-broker"
BROKERS = ["10.77.2.2", "10.77.2.3", "10.77.2.4"]
PORT = 9092
# The device's idle timer, seconds.
TIMER = 3


# Processes to end.
STARTED = []


def run(*command, check=True, **more):
    return subprocess.run(command, check=check, text=True, **more)


def build():
    """client 10.77.1.2 - device 10.77.1.1, 10.77.2.1 - broker 10.77.2.2 to .4."""
    remove()
    for name in (CLIENT, DEVICE, BROKER):
        run("ip", "netns", "add", name)
        run("ip", "-n", name, "link", "set", "lo", "up")
    for number, host in ((1, CLIENT), (2, BROKER)):
        run("ip", "-n", DEVICE, "link", "add", f"eth{number}", "type", "veth",
            "peer", "name", "eth0", "netns", host)  # fmt: skip
        run("ip", "-n", DEVICE, "address", "add", f"10.77.{number}.1/24", "dev", f"eth{number}")
        run("ip", "-n", DEVICE, "link", "set", f"eth{number}", "up")
        addresses = BROKERS if host == BROKER else ["10.77.1.2"]
        for address in addresses:
            run("ip", "-n", host, "address", "add", f"{address}/24", "dev", "eth0")
        run("ip", "-n", host, "link", "set", "eth0", "up")
        run("ip", "-n", host, "route", "add", "default", "via", f"10.77.{number}.1")
    run("ip", "netns", "exec", DEVICE, "sysctl", "-qw", "net.ipv4.ip_forward=1")


def device(seconds):
    """Forgets a connection that is silent for so long, and resets its next packet."""
    sysctl = "net.netfilter.nf_conntrack_tcp_timeout_established"
    rules = """
        flush ruleset
        table ip story {
            chain forward {
                type filter hook forward priority 0;
                tcp flags & (syn | ack) == syn ct state new accept
                ct state established,related accept
                meta l4proto tcp reject with tcp reset
            }
        }"""
    run("ip", "netns", "exec", DEVICE, "nft", "-f", "-", input=rules)
    for name, value in (
        ("net.netfilter.nf_conntrack_tcp_loose", 0),
        (sysctl, seconds),
        ("net.netfilter.nf_conntrack_tcp_timeout_unacknowledged", max(seconds, 300)),
    ):
        run("ip", "netns", "exec", DEVICE, "sysctl", "-qw", f"{name}={value}")


def remove():
    for name in (CLIENT, DEVICE, BROKER):
        run("ip", "netns", "del", name, check=False, stderr=subprocess.DEVNULL)


# Brokers and clients: just enough of Kafka's protocol to be told from other traffic.


def request(key, version, number, name, body=b""):
    name = name.encode()
    head = struct.pack(">hhih", key, version, number, len(name)) + name
    if key == 18:
        software, its_version = b"apache-kafka-java", b"4.3.0"
        body = b"\0" + bytes([len(software) + 1]) + software
        body += bytes([len(its_version) + 1]) + its_version + b"\0"
    return struct.pack(">i", len(head) + len(body)) + head + body


def exactly(stream, count):
    data = b""
    while len(data) < count:
        more = stream.recv(count - len(data))
        if not more:
            raise ConnectionError("the end")
        data += more
    return data


def receive(stream):
    size = struct.unpack(">i", exactly(stream, 4))[0]
    if size > 100 << 20:
        # Kafka's limit, socket.request.max.bytes.
        raise ConnectionError(f"a request of {size} bytes")
    return exactly(stream, size)


def serve(address, unread):
    """A broker: answers every request but the `unread`th, and ends the connection before that."""
    listener = socket.create_server((address, PORT), backlog=512)

    def connection(stream):
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        try:
            number = 0
            while True:
                number += 1
                if number == unread:
                    stream.recv(1, socket.MSG_PEEK)
                    stream.close()
                    return
                message = receive(stream)
                stream.sendall(struct.pack(">i", 14) + message[4:8] + b"\0" * 10)
        except OSError:
            stream.close()

    while True:
        stream, _ = listener.accept()
        threading.Thread(target=connection, args=(stream,), daemon=True).start()


def ask(stream, number, name, key=3):
    stream.sendall(request(key, 3 if key == 18 else 1, number, name, b"\xff" * 4))
    receive(stream)


def connect(address, name):
    stream = socket.create_connection((address, PORT))
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    ask(stream, 1, name, key=18)
    ask(stream, 2, name)
    return stream


def use(address, name, pause, rounds=10**9):
    """A client: comes back with Kafka's `reconnect.backoff`."""
    backoff = 0.05
    while rounds > 0:
        try:
            stream = connect(address, name)
            backoff = 0.05
            number = 3
            while rounds > 0:
                time.sleep(pause)
                rounds -= 1
                ask(stream, number, name)
                number += 1
            return
        except OSError:
            time.sleep(backoff)
            backoff = min(2 * backoff, 1.0)


def clients(count, pause):
    for number in range(count):
        for address in BROKERS:
            name = ["orders-api", "billing", "search"][number % 3]
            threading.Thread(target=use, args=(address, name, pause), daemon=True).start()
    time.sleep(10**6)


def tls():
    """A client that speaks TLS to a plaintext port: its hello is a request of 369 MB there."""
    context = ssl.create_default_context()
    while True:
        try:
            with socket.create_connection((BROKERS[0], PORT)) as stream:
                context.wrap_socket(stream, server_hostname="broker.example")
        except OSError:
            time.sleep(1)


def spawn(namespace, *arguments):
    """This script again, in a namespace."""
    command = ["ip", "netns", "exec", namespace, sys.executable, __file__, "--be", *arguments]
    process = subprocess.Popen(command)
    STARTED.append(process)
    return process


def be(what, *arguments):
    if what == "broker":
        serve(arguments[0], int(arguments[1]))
    elif what == "clients":
        clients(int(arguments[0]), float(arguments[1]))
    elif what == "idle":
        use(arguments[0], "orders-api", TIMER + 1, rounds=int(arguments[1]))
    elif what == "tls":
        tls()
    elif what == "bug":
        try:
            stream = connect(arguments[0], "my-client")
            ask(stream, 3, "my-client")
        except OSError as error:
            print(error)


def end(*processes):
    for process in processes:
        if process.poll() is None:
            process.kill()
            process.wait()


class Terminal:
    """A tmux session, and what is typed into it."""

    def __init__(self, columns, rows):
        self.columns, self.rows = columns, rows
        self.tmux("kill-server", check=False, stderr=subprocess.DEVNULL)
        shell = "env -u NO_COLOR PS1='# ' HISTFILE= bash --norc --noprofile"
        self.tmux("new-session", "-d", "-x", str(columns), "-y", str(rows), shell)
        self.tmux("set", "-g", "status", "off")
        self.tmux("set", "-g", "history-limit", "5000")
        self.wait_for("#")

    def tmux(self, *arguments, check=True, **more):
        return run("tmux", "-L", "stories", *arguments, check=check, **more)

    def type(self, text):
        self.tmux("send-keys", "-l", text)
        self.tmux("send-keys", "Enter")

    def press(self, key):
        self.tmux("send-keys", key)

    def shown(self, colors=False):
        extra = ["-e"] if colors else []
        shown = self.tmux("capture-pane", "-p", "-S", "-", *extra, capture_output=True)
        return shown.stdout.rstrip("\n") + "\n"

    def wait_for(self, text, seconds=60):
        until = time.time() + seconds
        while not re.search(text, self.shown()):
            if time.time() > until:
                raise TimeoutError(f"no {text!r} in\n{self.shown()}")
            time.sleep(0.1)

    def picture(self, name, rows=None):
        with open(f"{HERE}/{name}.txt", "w") as file:
            file.write("\n".join(line.rstrip() for line in self.shown().splitlines()) + "\n")
        svg = run(sys.executable, f"{HERE}/svg.py", str(self.columns), *([str(rows)] if rows else []),
                  input=self.shown(colors=True), capture_output=True).stdout  # fmt: skip
        with open(f"{HERE}/{name}.svg", "w") as file:
            file.write(svg)
        print(f"{name}: {len(self.shown().splitlines())} lines")

    def close(self):
        self.tmux("kill-server", check=False)


def operator(program, columns):
    """Three brokers are stopped under forty clients."""
    brokers = [spawn(BROKER, "broker", address, "0") for address in BROKERS]
    terminal = Terminal(columns, 40)
    terminal.type(f"kreset-trace --netns {CLIENT}")
    terminal.wait_for(r"watching .*port")
    time.sleep(1)
    crowd = spawn(CLIENT, "clients", "40", "0.1")
    time.sleep(3)
    end(*brokers)
    time.sleep(8)
    terminal.press("C-c")
    terminal.wait_for("end: ")
    time.sleep(0.5)
    end(crowd)
    terminal.picture(f"operator-{columns}")
    terminal.close()


def platform(program, columns):
    """An agent has written events; somebody looks at them."""
    device(TIMER)
    broker = spawn(BROKER, "broker", BROKERS[0], "0")
    events = "/tmp/kreset-story.json"
    if os.path.exists(events):
        os.unlink(events)
    agent = subprocess.Popen([program, "--netns", CLIENT, "--format", "json", "--output", events])
    time.sleep(3)
    idle = spawn(CLIENT, "idle", BROKERS[0], "3")
    idle.wait()
    time.sleep(1)
    agent.send_signal(signal.SIGTERM)
    agent.wait()
    terminal = Terminal(columns, 60)
    terminal.type(f"kreset-trace show --since 1h {events}")
    terminal.wait_for("more: ")
    time.sleep(1)
    terminal.type(f"kreset-trace explain --event {events}")
    terminal.wait_for(r"#\s*$")
    time.sleep(1)
    terminal.picture(f"platform-{columns}")
    terminal.close()
    end(broker)
    run("ip", "netns", "exec", DEVICE, "nft", "flush", "ruleset")


def first(program, columns):
    """The first block of the README."""
    device(TIMER)
    broker = spawn(BROKER, "broker", BROKERS[0], "0")
    terminal = Terminal(columns, 40)
    terminal.type(f"kreset-trace --netns {CLIENT}")
    terminal.wait_for(r"watching .*port")
    time.sleep(1)
    idle = spawn(CLIENT, "idle", BROKERS[0], "1")
    idle.wait()
    time.sleep(1)
    terminal.press("C-c")
    terminal.wait_for("end: ")
    time.sleep(0.5)
    terminal.picture(f"first-{columns}")
    terminal.close()
    end(broker)
    run("ip", "netns", "exec", DEVICE, "nft", "flush", "ruleset")


def bug(program, columns):
    """A broker of one's own on loopback that closes with a request unread."""
    broker = spawn(BROKER, "broker", "127.0.0.1", "3")
    terminal = Terminal(columns, 40)
    terminal.type(f"kreset-trace --netns {BROKER} -v --count 1")
    terminal.wait_for(r"watching .*port")
    time.sleep(1)
    spawn(BROKER, "bug", "127.0.0.1").wait()
    terminal.wait_for("end: |more: ")
    time.sleep(1)
    terminal.picture(f"bug-{columns}")
    terminal.close()
    end(broker)


def top(program, columns):
    """Several things at once."""
    device(TIMER)
    brokers = [spawn(BROKER, "broker", address, "0") for address in BROKERS]
    terminal = Terminal(columns, 24)
    terminal.type("clear; kreset-trace top --netns " + CLIENT)
    terminal.wait_for("quit")
    time.sleep(2)
    busy = [spawn(CLIENT, "clients", "12", "0.2"), spawn(CLIENT, "tls")]
    for address in BROKERS:
        # Silent at once, they would look like a device that failed over.
        time.sleep(1.3)
        busy.append(spawn(CLIENT, "idle", address, "100"))
    time.sleep(14)
    end(brokers[2])
    time.sleep(7)
    terminal.picture(f"top-{columns}x24", rows=24)
    terminal.press("q")
    terminal.close()
    end(*busy, *brokers[:2])
    run("ip", "netns", "exec", DEVICE, "nft", "flush", "ruleset")


STORIES = {"operator": operator, "platform": platform, "bug": bug}


def main():
    program = os.path.abspath(sys.argv[1])
    os.environ["PATH"] = os.path.dirname(program) + ":" + os.environ["PATH"]
    os.environ["TZ"] = "UTC"
    wanted = sys.argv[2:] or ["first", "top", *STORIES]
    build()
    try:
        for name in wanted:
            if name in ("top", "first"):
                {"top": top, "first": first}[name](program, 80)
                continue
            for columns in (80, 120, 200):
                STORIES[name](program, columns)
    finally:
        end(*STARTED)
        remove()


if __name__ == "__main__":
    if sys.argv[1] == "--be":
        be(*sys.argv[2:])
    else:
        main()
