"""A peer for tests, without a library: attention or the gated rule in plain Python, or a fault."""

import json
import math
import os
import struct
import sys
import time

FAULT = sys.argv[1]


def read(path):
    data = open(path, "rb").read()
    start = 10 + struct.unpack("<H", data[8:10])[0]
    header = data[10:start].decode()
    shape = eval(header)["shape"]
    return shape, struct.unpack(f"<{(len(data) - start) // 4}f", data[start:])


def write(path, shape, values):
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {tuple(shape)}, }}"
    header += " " * (63 - (10 + len(header)) % 64) + "\n"
    with open(path, "wb") as file:
        file.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode())
        file.write(struct.pack(f"<{len(values)}f", *values))


def attend(operands):
    (_, heads, rows, d), q = read(operands["query"])
    (_, _, keys, _), k = read(operands["key"])
    _, v = read(operands["value"])
    out = []
    for h in range(heads):
        for i in range(rows):
            row = q[(h * rows + i) * d : (h * rows + i + 1) * d]
            scores = [
                sum(a * b for a, b in zip(row, k[(h * keys + j) * d :])) / math.sqrt(d)
                for j in range(keys)
            ]
            top = max(scores)
            weights = [math.exp(s - top) for s in scores]
            for c in range(d):
                total = sum(w * v[(h * keys + j) * d + c] for j, w in enumerate(weights))
                out.append(total / sum(weights))
    return (1, heads, rows, d), out


def recur(operands):
    (_, heads, rows, d), q = read(operands["query"])
    _, k = read(operands["key"])
    (_, _, _, width), v = read(operands["value"])
    _, decay = read(operands["decay"])
    _, past = read(operands["state"])
    out = []
    for h in range(heads):
        state = [0.0] * (d * width) if FAULT == "forgets" else list(past[h * d * width :])
        for i in range(h * rows, (h + 1) * rows):
            kept = math.exp(decay[i])
            for a in range(d):
                for c in range(width):
                    new = k[i * d + a] * v[i * width + c]
                    state[a * width + c] = kept * state[a * width + c] + new
            for c in range(width):
                total = sum(q[i * d + a] * state[a * width + c] for a in range(d))
                out.append(total / math.sqrt(d))
    return (1, heads, rows, width), out


shape, values, turns = (0,), [], 0
for line in sys.stdin:
    request = json.loads(line)
    command = request["command"]
    answer = {}
    if command == "quit":
        if FAULT == "stubborn":
            time.sleep(1000)
        sys.exit(0)
    if command == "hello":
        if FAULT == "absent":
            answer = {"error": "no such library"}
        else:
            answer = {"library": "fake", "version": "1.0"}
    elif command == "serves":
        answer = {"serves": FAULT != "choosy"}
        if FAULT == "choosy":
            answer["reason"] = "only on Sundays"
    elif command == "prepare":
        if FAULT == "refuses":
            answer = {"error": "NotImplementedError: not today"}
        elif FAULT == "dies":
            print("the last words", file=sys.stderr)
            sys.exit(3)
        elif FAULT == "aborts":
            os.abort()
        elif FAULT == "hangs":
            time.sleep(1000)
        elif FAULT == "chatters":
            print("Loading model ...", flush=True)
            continue
        elif FAULT == "babbles":
            while True:
                print("x" * 65536, end="", flush=True)
        if not answer:
            compute = recur if request["case"].get("rule") == "gated" else attend
            shape, values = compute(request["operands"])
        if FAULT == "wrong":
            values[0] += 1e-3
        if FAULT == "nan":
            values[-1] = math.nan
        if FAULT == "misshapen":
            shape, values = (1, 1), [0.0]
    elif command == "run":
        turns += 1
        if FAULT == "tires" and turns > 4:
            sys.exit(4)
        count = request["repeats"] - (1 if FAULT == "miscounts" else 0)
        answer = {"wall_ns": [2_000_000] * count, "cpu_ns": [1_500_000] * count}
    elif command == "output":
        write(request["path"], shape, values)
    print(json.dumps(answer), flush=True)
