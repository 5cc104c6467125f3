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


class Rows:
    """An operand whose rows are asked for by head and number."""

    def __init__(self, path):
        shape, self.values = read(path)
        self.count, self.width = (shape + (1,))[2:4]

    def __call__(self, head, row):
        first = (head * self.count + row) * self.width
        return self.values[first : first + self.width]

    def mean(self, head, rows):
        return [sum(column) / len(rows) for column in zip(*(self(head, i) for i in rows))]


def dot(a, b):
    return sum(x * y for x, y in zip(a, b))


def kept(case, operands, h, i, seen):
    """Of the keys that a query sees those that it attends to."""
    kind, block = case.get("selection"), case.get("block")
    q, k = operands["query"], operands["key"]
    if kind == "given":
        layout = read(case["files"]["blocks"])
        return [j for j in seen if layout[1][i // block * layout[0][2] + j // block]]
    if kind == "blocks":
        first, own = i // case["rows"] * case["rows"], i // block
        group = q.mean(h, range(first, min(first + case["rows"], q.count)))
        means = {b: k.mean(h, range(b * block, (b + 1) * block)) for b in range(own)}
        best = sorted(means, key=lambda b: -dot(group, means[b]))[: case["top"] - 1] + [own]
        return [j for j in seen if j // block in best]
    if kind == "index":
        q, k, w = operands["index_q"], operands["index_k"], operands["index_w"]

        def score(j):
            heads = range(len(w.values) // w.count)
            return sum(w(g, i)[0] * max(0, dot(q(g, i), k(0, j))) for g in heads)

        return sorted(seen, key=score, reverse=True)[: case["top"]]
    return seen


def scores(case, operands, h, i, keys):
    q, k = operands["query"](h, i), operands["key"]
    if not case["additive"]:
        return [dot(q, k(h, j)) / math.sqrt(len(q)) for j in keys]
    ours, theirs, v = (operands[f"additive_{name}"] for name in "qkv")
    units = range(ours.count)
    a = [dot(ours(h, u), q) for u in units]
    return [
        sum(v(h, u)[0] * math.tanh(a[u] + dot(theirs(h, u), k(h, j))) for u in units) for j in keys
    ]


def attend(case, files):
    operands = {name: Rows(path) for name, path in files.items() if name != "blocks"}
    v = operands["value"]
    case = dict(case, files=files)
    if FAULT == "blind":
        case = dict(case, selection=None, additive=False)
    out = []
    for h in range(case["heads"]):
        for i in range(case["n_q"]):
            last = i + case["n_kv"] - case["n_q"] if case["causal"] else case["n_kv"] - 1
            seen = kept(case, operands, h, i, range(last + 1))
            row = scores(case, operands, h, i, seen)
            weights = [math.exp(s - max(row)) for s in row]
            for c in range(v.width):
                total = sum(w * v(h, j)[c] for j, w in zip(seen, weights))
                out.append(total / sum(weights))
    return (1, case["heads"], case["n_q"], v.width), out


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
            case, files = request["case"], request["operands"]
            shape, values = recur(files) if case.get("rule") == "gated" else attend(case, files)
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
