"""Random combinations of every option of `attnbench run`, against NumPy and PyTorch, and as many random
recurrences, see recurrent_checks.py.

Seeded: case i of seed s is always the same. Prints the command line of every case that differs.
"""

import argparse
import pathlib
import sys
import tempfile

import ml_dtypes
import numpy as np
import recurrent_checks
from command import Command, Failure, default_executable
from numpy_reference import Problem, attention, padded

# How far an element may be off: absolute, of outputs that are of the order of 1, and the roundings
# of the element type.
ABSOLUTE = 1e-5
UNITS = {np.float32: 2.0**-23, np.float16: 2.0**-10, ml_dtypes.bfloat16: 2.0**-7}


class Case:
    """One draw: the arrays, the options and what they mean."""

    def __init__(self, seed: int, index: int):
        self.random = np.random.default_rng([seed, index])
        self.arguments: list[str] = []
        self.tensors: dict[str, np.ndarray] = {}
        self.features: list[str] = []
        self.draw()

    def chance(self, p: float) -> bool:
        return bool(self.random.random() < p)

    def pick(self, *values):
        return values[self.random.integers(len(values))]

    def say(self, feature: str, *words) -> None:
        self.features.append(feature)
        self.arguments += [str(word) for word in words]

    def lengths(self, option: str, values: np.ndarray) -> None:
        """As numbers or as a file."""
        if self.chance(0.5):
            self.say(option, option, ",".join(map(str, values)))
        else:
            self.features.append(option)
            self.tensors[option] = values.astype(self.pick(np.int32, np.int64))

    def normal(self, *shape) -> np.ndarray:
        return self.random.standard_normal(shape).astype(np.float32).astype(self.dtype)

    def draw(self) -> None:
        r = self.random
        self.dtype = self.pick(np.float32, np.float32, np.float32, np.float16, ml_dtypes.bfloat16)
        b, h_kv, group = self.pick(1, 1, 2, 3), self.pick(1, 2, 3), self.pick(1, 1, 2, 4)
        h = h_kv * group
        n_q, n_kv = int(self.pick(1, 2, 5, 17, 48, 49, 130)), int(self.pick(1, 3, 16, 64, 129, 200))
        d, d_v = int(self.pick(1, 4, 8, 17, 64)), int(self.pick(1, 4, 8, 33, 64))
        self.layout = self.pick("bhnd", "bhnd", "bnhd", "bnd")
        q, k, v = self.normal(b, h, n_q, d), self.normal(b, h_kv, n_kv, d), self.normal(b, h_kv, n_kv, d_v)
        past = int(r.integers(0, n_kv)) if self.chance(0.2) else None
        strategy = self.pick("exact", "flash", "flash", "window")
        window = None
        if strategy == "window":
            left, right = int(self.pick(-1, 0, 3, 40)), int(self.pick(-1, 0, 2, 40))
            sinks = int(self.pick(0, 0, 2)) if left >= 0 else 0
            window = (left, right, sinks)
            self.say("window", "--window-left", left, "--window-right", right)
            if sinks:
                self.say("sinks", "--sinks", sinks)
        else:
            self.say(strategy, "--strategy", strategy)
        causal = self.chance(0.4)
        if causal:
            self.say("causal", "--causal")
        key_lengths = query_lengths = prefix_lengths = None
        if past is None and self.chance(0.25):
            key_lengths = r.integers(0, n_kv + 1, b)
            self.lengths("--kv-lengths", key_lengths)
        if self.chance(0.15):
            query_lengths = r.integers(0, n_q + 1, b)
            self.lengths("--query-lengths", query_lengths)
        if causal and window is None and self.chance(0.2):
            prefix_lengths = r.integers(0, n_kv + 1, b)
            self.lengths("--prefix-lengths", prefix_lengths)
        offsets = self.draw_offsets(b, n_q, n_kv, past, key_lengths, query_lengths)
        scale = 1 / np.sqrt(d)
        if self.chance(0.3):
            scale = float(np.float32(r.uniform(-0.5, 0.5)))
            self.say("scale", "--scale", repr(scale))
        softcap = None
        if self.chance(0.3):
            softcap = float(np.float32(r.uniform(0.3, 20)))
            self.say("softcap", "--softcap", repr(softcap))
        mask, bias = self.draw_masks(b, h, n_q, n_kv)
        slopes = sink_logits = None
        if self.chance(0.2):
            slopes = r.uniform(0, 0.5, h).astype(np.float32)
            self.say("alibi")
            self.tensors["--alibi"] = slopes
        if self.chance(0.2):
            sink_logits = r.uniform(-2, 2, h).astype(np.float32)
            self.say("sink-logits", "--sink-logits", ",".join(map(repr, map(float, sink_logits))))
        self.stage = int(r.integers(4)) if self.chance(0.3) else None
        self.lse = self.chance(0.5)
        self.poison(k, v, key_lengths)
        self.past = past
        self.problem = Problem(
            q, k, v, scale, causal, offsets, query_lengths, key_lengths, prefix_lengths, mask, bias,
            slopes, softcap, sink_logits, window,
        )
        self.write_inputs(q, k, v)

    def draw_offsets(self, b, n_q, n_kv, past, key_lengths, query_lengths) -> np.ndarray:
        r = self.random
        way = self.pick("", "", "top-left", "bottom-right", "fixed", "each")
        keys = np.full(b, n_kv) if key_lengths is None else key_lengths
        queries = np.full(b, n_q) if query_lengths is None else query_lengths
        if way == "" and past is not None:
            return np.full(b, past)
        if way == "top-left":
            self.say(way, "--align", way)
            return np.zeros(b, int)
        if way == "fixed":
            offset = int(r.integers(-n_q, n_kv + 3))
            self.say("query-offset", "--query-offset", offset)
            return np.full(b, offset)
        if way == "each" and b > 1:
            offsets = r.integers(-n_q, n_kv + 3, b)
            self.lengths("--query-offset", offsets)
            return offsets
        if way == "bottom-right":
            self.say(way, "--align", way)
        elif past is not None:
            return np.full(b, past)
        return keys - queries

    def draw_masks(self, b, h, n_q, n_kv):
        """A mask of truth values and the sum of what is added."""
        r = self.random
        mask = bias = None

        def shape():
            columns = self.pick(n_kv, n_kv, n_kv, 1, max(2, n_kv // 2) if n_kv > 2 else n_kv)
            full = [self.pick(1, b), self.pick(1, h), self.pick(1, n_q, n_q), columns]
            rank = int(r.integers(1, 5))
            return tuple(int(size) for size in full[4 - rank :])

        def numbers():
            array = r.standard_normal(shape()).astype(np.float32).astype(self.dtype)
            array[r.random(array.shape) < 0.2] = -np.inf
            return array

        if self.chance(0.3):
            mask = r.random(shape()) < self.pick(0.2, 0.7, 1.0)
            self.say("mask")
            self.tensors["--mask"] = mask
        elif self.chance(0.2):
            bias = numbers()
            self.say("additive mask")
            self.tensors["--mask"] = bias
        if self.chance(0.2):
            other = numbers()
            self.say("bias")
            self.tensors["--bias"] = other
            a = padded(other.astype(np.float64), n_kv, -np.inf)
            bias = a if bias is None else a + padded(bias.astype(np.float64), n_kv, -np.inf)
        return mask, bias

    def poison(self, k, v, key_lengths) -> None:
        """What stands behind the keys in use must not matter."""
        if key_lengths is None:
            return
        for batch, length in enumerate(key_lengths):
            k[batch, :, length:] = np.nan
            v[batch, :, length:] = np.inf

    def write_inputs(self, q, k, v) -> None:
        def arranged(array, folded=True):
            if self.layout == "bhnd" or (self.layout == "bnd" and not folded):
                return array
            swapped = np.swapaxes(array, 1, 2)
            return swapped if self.layout == "bnhd" else swapped.reshape(*swapped.shape[:2], -1)

        self.tensors["--q"] = arranged(q)
        past = self.past or 0
        if self.past is not None:
            self.say("past")
            self.tensors["--past-k"] = arranged(k[:, :, :past], folded=False)
            self.tensors["--past-v"] = arranged(v[:, :, :past], folded=False)
        self.tensors["--k"], self.tensors["--v"] = arranged(k[:, :, past:]), arranged(v[:, :, past:])
        if self.layout != "bhnd":
            self.say(self.layout, "--layout", self.layout)
        if self.layout == "bnd":
            self.say("heads", "--heads", q.shape[1], "--kv-heads", k.shape[1])
        self.expected_present = [arranged(k, folded=False), arranged(v, folded=False)]

    def restored(self, array: np.ndarray) -> np.ndarray:
        """An output as [b, h, nQ, ...]."""
        if self.layout == "bhnd":
            return array
        if self.layout == "bnd" and array.ndim == 3 and array.dtype == self.dtype:
            h = self.problem.q.shape[1]
            array = array.reshape(*array.shape[:2], h, -1)
        return np.swapaxes(array, 1, 2)

    def run(self, executable: str, torch) -> list[str]:
        with tempfile.TemporaryDirectory() as directory:
            run = Command(executable, pathlib.Path(directory))
            for option, array in self.tensors.items():
                run.tensor(option, array)
            run.option(*self.arguments)
            run.output("--output", self.dtype)
            if self.lse:
                run.output("--lse", np.float32)
            if self.past is not None:
                run.output("--present-k", self.dtype)
                run.output("--present-v", self.dtype)
            if self.stage is not None:
                run.output("--scores", self.dtype)
                run.option("--scores-mode", self.stage)
            self.line = run.line
            try:
                found = run.run()
            except Failure as failure:
                return [str(failure)]
        output, lse, stages = attention(self.problem)
        wrong = self.compare("output", self.restored(found["--output"]), output)
        if self.lse:
            wrong += self.compare("lse", np.swapaxes(found["--lse"], 1, 2)
                                  if self.layout != "bhnd" else found["--lse"], lse, np.float32)
        for option, expected in zip(("--present-k", "--present-v"), self.expected_present, strict=True):
            if option in found and found[option].tobytes() != np.ascontiguousarray(expected).tobytes():
                wrong.append(f"{option} is not past and new")
        if self.stage is not None:
            wrong += self.compare("scores", found["--scores"], self.scores(stages))
        if torch:
            wrong += self.compare_torch(torch, self.restored(found["--output"]))
        return wrong

    def scores(self, stages) -> np.ndarray:
        scores = stages[self.stage].copy()
        if self.problem.query_lengths is not None:
            for batch, length in enumerate(self.problem.query_lengths):
                scores[batch, :, length:] = -np.inf if self.stage == 2 else 0
        return scores

    def compare(self, name, found, expected, dtype=None) -> list[str]:
        unit = UNITS[dtype or self.dtype]
        found = found.astype(np.float64)
        if found.shape != expected.shape:
            return [f"{name} has shape {found.shape}, expected {expected.shape}"]
        with np.errstate(invalid="ignore", over="ignore"):
            bound = (1 if name != "lse" else 4) * ABSOLUTE + unit * np.abs(expected)
            near = np.isfinite(expected) & (np.abs(found - expected) <= bound)
        agrees = (found == expected) | near
        # Raw scores of keys that are not numbers are not numbers.
        agrees |= np.isnan(found) & np.isnan(expected)
        if agrees.all():
            return []
        first = tuple(int(i) for i in np.argwhere(~agrees)[0])
        return [
            f"{name}: {(~agrees).sum()} of {agrees.size} differ, first at {first}: "
            f"{found[first]:.7g}, expected {expected[first]:.7g}"
        ]

    def compare_torch(self, torch, found) -> list[str]:
        """Where PyTorch's own function can say the problem: what is visible and added as one mask."""
        p = self.problem
        if p.softcap is not None or p.sink_logits is not None or p.key_lengths is not None:
            return []
        self.features.append("torch")
        bias = np.zeros(p.visible.shape)
        if p.bias is not None:
            bias = bias + padded(p.bias.astype(np.float64), bias.shape[-1], -np.inf)
        if p.slopes is not None:
            distance = np.abs(p.position - np.arange(bias.shape[-1]))
            bias = bias - p.slopes[None, :, None, None] * distance
        bias = np.where(p.visible, bias, -np.inf)
        q, k, v = (torch.from_numpy(x.astype(np.float64)) for x in (p.q, p.k, p.v))
        output = torch.nn.functional.scaled_dot_product_attention(
            q, k, v, attn_mask=torch.from_numpy(bias), scale=p.scale, enable_gqa=True
        ).numpy()
        # PyTorch gives NaN or 0 for a row that sees nothing, by version.
        sees = (bias > -np.inf).any(axis=-1)[..., None]
        return self.compare("output beside PyTorch", found, np.where(sees, output, 0))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--attnbench", default=default_executable())
    parser.add_argument("--cases", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--case", type=int, help="this one only")
    parser.add_argument("--kind", choices=("all", "attention", "recurrences"), default="all")
    parser.add_argument(
        "--torch", action="store_true", help="compare with PyTorch, fla and transformers, too"
    )
    arguments = parser.parse_args()
    torch = None
    if arguments.torch:
        import torch
    indices = range(arguments.cases) if arguments.case is None else [arguments.case]
    failed = 0
    if arguments.kind != "attention":
        failed += recurrent_checks.check(
            arguments.attnbench, arguments.seed, indices, peers=arguments.torch
        )
    if arguments.kind == "recurrences":
        return 1 if failed else 0
    return 1 if failed + check_attention(arguments, indices, torch) else 0


def check_attention(arguments, indices, torch) -> int:
    """Runs cases and prints what disagrees; the number that do."""
    failed = 0
    counts: dict[str, int] = {}
    for index in indices:
        case = Case(arguments.seed, index)
        wrong = case.run(arguments.attnbench, torch)
        for feature in case.features:
            counts[feature] = counts.get(feature, 0) + 1
        if wrong:
            failed += 1
            print(f"case {index}: {'; '.join(wrong)}\n    {case.line}")
    print(", ".join(f"{name} {count}" for name, count in sorted(counts.items())))
    print(f"{len(indices) - failed} of {len(indices)} cases agree, seed {arguments.seed}")
    return failed


if __name__ == "__main__":
    sys.exit(main())
