"""Writes a large capture to standard output: for measuring how fast it is read.

Arguments: PACKETS LIVE. As many connections as LIVE are open at a time, from as many ports and
addresses as that takes; each has 24 packets: its handshake, nine requests and answers of Kafka's
size, and its end: one in 16 by a RST in mid-use, the others by two FINs.
"""

import struct
import sys

BROKER = (10, 0, 4, 33)
PORT = 9092
SYN, FIN, RST, PUSH, ACK = 2, 1, 4, 8, 16
EXCHANGES = 9


def ip(source, destination, ports, sequence, ack, flags, payload):
    timestamps = b"\x01\x01\x08\x0a" + struct.pack(">II", 1, 1)
    options = b"\x02\x04\x05\xb4" + timestamps if flags & SYN else timestamps
    header = 20 + len(options)
    tcp = struct.pack(">HHIIBBHHH", *ports, sequence, ack, header // 4 << 4, flags, 500, 0, 0)
    total = 20 + header + len(payload)
    head = struct.pack(">BBHHHBBH", 0x45, 0, total, 0, 0x4000, 64, 6, 0)
    return head + bytes(source) + bytes(destination) + tcp + options + payload


def connection(reset):
    """The packets of one: whether the client sent each, and its bytes."""
    request = struct.pack(">IHHIH", 96, 1, 12, 7, 6) + b"orders" + bytes(80)
    answer = struct.pack(">II", 396, 7) + bytes(392)
    numbers = {True: 1_000, False: 5_000}
    packets = []

    def send(of_client, flags, payload=b""):
        ends = ((10, 0, 7, 9), BROKER), (40_000, PORT)
        if not of_client:
            ends = tuple(pair[::-1] for pair in ends)
        ack = 0 if flags == SYN else numbers[not of_client]
        raw = ip(*ends[0], ends[1], numbers[of_client], ack, flags, payload)
        packets.append((of_client, bytearray(raw)))
        numbers[of_client] += len(payload) + (1 if flags & (SYN | FIN) else 0)

    send(True, SYN)
    send(False, SYN | ACK)
    send(True, ACK)
    for _ in range(EXCHANGES):
        send(True, PUSH | ACK, request)
        send(False, PUSH | ACK, answer)
    if reset:
        send(True, PUSH | ACK, request)
        send(False, PUSH | ACK, answer)
        send(False, RST | ACK)
    else:
        send(True, FIN | ACK)
        send(False, FIN | ACK)
        send(True, ACK)
    return packets


def main():
    wanted, live = int(sys.argv[1]), int(sys.argv[2])
    out = sys.stdout.buffer
    # Nanoseconds; raw IP.
    out.write(struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 65_535, 101))
    kinds = [connection(reset) for reset in (True, False)]
    written, opened, now = 0, 0, 1_796_000_000_000_000_000
    while written < wanted:
        group = range(opened, opened + live)
        opened += live
        for step in range(len(kinds[0])):
            for number in group:
                of_client, packet = kinds[number % 16 != 0][step]
                address, port = 0x0A010000 + number // 20_000 % 65_536, 20_000 + number % 20_000
                struct.pack_into(">I", packet, 12 if of_client else 16, address)
                struct.pack_into(">H", packet, 20 if of_client else 22, port)
                # As one host captures it: what comes has passed two hops.
                packet[8] = 64 if of_client else 62
                now += 2_000
                seconds, rest = divmod(now, 1_000_000_000)
                size = len(packet)
                out.write(struct.pack("<IIII", seconds, rest, size, size))
                out.write(packet)
                written += 1
        # The same ports again: long after the ends of their connections.
        now += 100_000_000


if __name__ == "__main__":
    main()
