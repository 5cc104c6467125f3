"""Random recurrences through `attnbench run`, against NumPy in fp64, fla and transformers.

Everything is held to the recurrence in fp64, so that a difference can be attributed: attnbench in every
case; a library's function that goes token by token in every case too; its chunk form where the decays
are mild. Where a decay forgets at once the chunk forms subtract large sums of logarithms and are off
themselves: how far is printed, and their case is held to fp64 alone.
"""

import dataclasses
import pathlib
import tempfile
import warnings

import fla_reference
import ml_dtypes
import numpy as np
import transformers_reference
from command import Command, Failure
from numpy_reference import Recurred, Recurrence, recurrence

# What a rounding of fp32 is worth, of what `numpy_reference.Recurred` says that rounding is proportional
# to; and a rounding of the element type of outputs.
UNIT = 2.0**-24
UNITS = {np.float32: 0.0, np.float16: 2.0**-11, ml_dtypes.bfloat16: 2.0**-8}
# Of outputs in fp16, whose smallest numbers are no finer.
SMALLEST = 2.0**-25


def allowed(tokens: int) -> float:
    """How many roundings a result after so many tokens may be off: four of its own, and those of the
    tokens, which are as often up as down."""
    return 4 + np.sqrt(tokens)


class RecurrentCase:
    """One draw: the problem in our conventions and the words and files that say it."""

    def __init__(self, seed: int, index: int):
        self.random = np.random.default_rng([seed, index, 27])
        self.features: list[str] = []
        self.draw()

    def chance(self, p: float) -> bool:
        return bool(self.random.random() < p)

    def pick(self, *values):
        return values[self.random.integers(len(values))]

    def normal(self, *shape) -> np.ndarray:
        return self.random.standard_normal(shape).astype(np.float32).astype(self.dtype)

    def draw(self) -> None:
        r = self.random
        self.dtype = self.pick(np.float32, np.float32, np.float32, np.float16, ml_dtypes.bfloat16)
        b, h_kv, group = self.pick(1, 1, 2), self.pick(1, 2, 3, 4), self.pick(1, 1, 2, 3)
        h = h_kv * group
        n = int(self.pick(1, 2, 7, 24, 25, 47, 48, 49, 64, 97, 128, 200))
        n_q = int(self.pick(1, n, max(1, n // 2))) if self.chance(0.15) else n
        d, d_v = int(self.pick(1, 4, 8, 17, 33, 64)), int(self.pick(1, 4, 15, 16, 48, 64))
        rule = self.pick("linear", "gated", "delta", "gated_delta", "gated_delta", "retention", "ssd")
        # As models with more value heads than key heads have them.
        shared = self.pick(*(s for s in (1, 1, 2, h_kv) if h_kv % s == 0)) if group == 1 else 1
        q = np.repeat(self.normal(b, h // shared, n_q, d), shared, axis=1)
        k = np.repeat(self.normal(b, h_kv // shared, n, d), shared, axis=1)
        v = self.normal(b, h_kv, n, d_v)
        self.operands: dict[str, np.ndarray] = {}
        self.kind, words, unit = "none", "", False
        self.steps = self.rates = self.skip = None
        decay = beta = addition = None
        values, state = v, None
        normalised = False
        if rule == "linear":
            words = self.pick("identity", "elu", "relu")
            normalised = words != "identity"
        if rule in ("gated", "gated_delta"):
            words = self.pick("head", "channel")
            decay = self.draw_decay((b, h_kv, n) + ((d,) if words == "channel" else ()))
            self.operands["decay"] = decay
        if rule in ("delta", "gated_delta"):
            unit = self.chance(0.6)
            beta = r.random((b, h_kv, n)).astype(np.float32)
            # Longer keys need a smaller beta, or the state grows without bound.
            beta *= 2 if unit else np.float32(1 / (2 * d))
            if unit:
                beta[r.random(beta.shape) < 0.1] = self.pick(0, 1, 2)
                words += ", normalise: l2" if words else "normalise: l2"
            self.operands["beta"] = beta
        if rule == "retention":
            rates = np.log1p(-(2.0 ** (-5.0 - np.arange(h_kv))))
            decay = np.broadcast_to(rates.astype(np.float32)[None, :, None], (b, h_kv, n))
        if rule == "ssd":
            self.kind = self.pick("mild", "strong")
            self.steps = r.uniform(1e-3, 0.1, (b, h_kv, n)).astype(np.float32)
            self.rates = -r.uniform(0.1, 2 if self.kind == "mild" else 1e3, h_kv).astype(np.float32)
            self.operands |= {"dt": self.steps, "a": self.rates[None]}
            if self.chance(0.6):
                self.skip = r.uniform(-2, 2, h_kv).astype(np.float32)
                self.operands["skip"] = self.skip[None]
                addition = self.skip[None, :, None, None].astype(np.float64) * v.astype(np.float64)
            decay = self.rates[None, :, None].astype(np.float64) * self.steps.astype(np.float64)
            values = self.steps[..., None].astype(np.float64) * v.astype(np.float64)
        if not normalised and self.chance(0.5):
            state = r.standard_normal((b, h_kv, d, d_v)).astype(np.float32)
        causal = not self.chance(0.1)
        scale = float(np.float32(r.uniform(-1, 1))) if self.chance(0.3) else 1 / np.sqrt(d)
        self.says_scale = scale != 1 / np.sqrt(d)
        self.strategy = f"{rule}({words})" if words else rule
        self.layout = self.pick("bhnd", "bhnd", "bnhd", "bnd")
        self.is_one_file = self.chance(0.3)
        # The state after the first tokens is what the others begin with.
        self.cut = int(r.integers(1, n)) if n > 1 and n_q == n and not normalised and causal else None
        self.cut = self.cut if self.chance(0.6) else None
        # Heads that share C and B may be given these once.
        gives_groups = rule == "ssd" and shared > 1 and self.layout != "bnd" and self.chance(0.7)
        each = shared if gives_groups else 1
        self.inputs = (q[:, ::each], k[:, ::each], v)
        self.features += ["groups"] * gives_groups
        self.features += [rule, self.kind, self.layout, np.dtype(self.dtype).name]
        self.features += ["cut"] * (self.cut is not None) + ["state"] * (state is not None)
        self.features += ["grouped"] * (group > 1) + ["shared keys"] * (shared > 1)
        if rule == "linear":
            q, k = (self.mapped(x.astype(np.float64), words) for x in (q, k))
        self.problem = Recurrence(
            q, k, values, scale, decay, beta, addition, state, causal, unit, normalised
        )

    @staticmethod
    def mapped(x: np.ndarray, words: str) -> np.ndarray:
        if words == "elu":
            return np.where(x > 0, x + 1, np.exp(np.minimum(x, 0)))
        return np.maximum(x, 0) if words == "relu" else x

    def draw_decay(self, shape) -> np.ndarray:
        """The natural logarithm of what is kept: mild; strong throughout; with steps that forget
        everything, as models that separate documents have them; or with the lowest there are."""
        r = self.random
        self.kind = self.pick("mild", "mild", "strong", "resets", "lowest")
        if self.kind == "strong":
            return -r.uniform(0, 40, shape).astype(np.float32)
        decay = -0.2 * r.random(shape).astype(np.float32)
        if self.kind != "mild":
            low = self.pick(-1e3, -1e4) if self.kind == "resets" else self.pick(-1e30, -np.inf)
            decay[r.random(shape) < 0.1] = low
        return decay

    def arranged(self, array: np.ndarray) -> np.ndarray:
        if self.layout == "bhnd":
            return array
        swapped = np.swapaxes(array, 1, 2)
        return swapped if self.layout == "bnhd" else swapped.reshape(*swapped.shape[:2], -1)

    def attnbench(self, executable: str, first: int, last: int, state) -> tuple:
        """Output and last state of the tokens first ..< last, beginning with a state."""
        q, k, v = self.inputs
        rows = slice(None) if q.shape[2] != k.shape[2] else slice(first, last)
        tensors = {"q": q[:, :, rows], "k": k[:, :, first:last], "v": v[:, :, first:last]}
        operands = {
            name: array if name in ("a", "skip") else array[:, :, first:last]
            for name, array in self.operands.items()
        }
        if state is not None:
            operands["state"] = state
        wants_state = not self.problem.normalised
        with tempfile.TemporaryDirectory() as directory:
            run = Command(executable, pathlib.Path(directory))
            tensors = {name: self.arranged(array) for name, array in tensors.items()}
            if self.is_one_file:
                run.tensors("--inputs", tensors | operands)
                run.outputs_in_one_file("o", *["state"] * wants_state)
            else:
                for name, array in tensors.items():
                    run.tensor(f"--{name}", array)
                for name, array in operands.items():
                    run.operand(name, array)
                run.output("--output", self.dtype)
                if wants_state:
                    run.output("--present-state", np.float32)
            if self.layout != "bhnd":
                run.option("--layout", self.layout)
            if self.layout == "bnd":
                run.option("--heads", q.shape[1], "--kv-heads", k.shape[1])
            if self.says_scale:
                run.option("--scale", repr(self.problem.scale))
            if self.problem.causal:
                run.option("--causal")
            run.option("--strategy", self.strategy)
            self.line = run.line
            found = run.run()
        output = found["--output"]
        if self.layout == "bnd":
            output = output.reshape(*output.shape[:2], q.shape[1], -1)
        if self.layout != "bhnd":
            output = np.swapaxes(output, 1, 2)
        return output, found.get("--present-state")

    def run(self, executable: str, peers: bool, tally: "Tally") -> list[str]:
        """What disagrees, in words."""
        n = self.problem.k.shape[2]
        parts = [(0, n)] if self.cut is None else [(0, self.cut), (self.cut, n)]
        state, outputs = self.problem.state, []
        try:
            for first, last in parts:
                output, state = self.attnbench(executable, first, last, state)
                outputs.append(output)
        except Failure as failure:
            return [str(failure)]
        expected = recurrence(self.problem)
        wrong = self.judge("attnbench", np.concatenate(outputs, axis=2), state, expected, tally, True)
        return wrong + (self.judge_peers(parts, expected, tally) if peers else [])

    def judge_peers(self, parts, expected: Recurred, tally: "Tally") -> list[str]:
        wrong = []
        halves = [self.part(first, last) for first, last in parts]
        named = [self.references(*half) for half in halves]
        for name in named[0]:
            if any(name not in forms for forms in named):
                continue
            is_stepwise, call = named[0][name]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                output, state = call()
                if len(halves) == 2:
                    if state is None:
                        continue
                    problem, *rest = halves[1]
                    problem = dataclasses.replace(problem, state=np.ascontiguousarray(state))
                    again = self.references(problem, *rest).get(name)
                    if again is None:
                        continue
                    second, state = again[1]()
                    output = np.concatenate([output, second], axis=2)
            must_agree = is_stepwise or self.kind in ("none", "mild")
            wrong += self.judge(name, output, state, expected, tally, must_agree)
        return wrong

    @staticmethod
    def references(problem: Recurrence, steps, rates, skip) -> dict:
        forms = fla_reference.references(problem)
        return forms | transformers_reference.references(problem, steps, rates, skip)

    def part(self, first: int, last: int) -> tuple:
        """The tokens first ..< last as a problem, and the state-space operands of it."""
        p = self.problem
        if (first, last) == (0, p.k.shape[2]):
            return p, self.steps, self.rates, self.skip

        def cut(array):
            return None if array is None else array[:, :, first:last]

        problem = dataclasses.replace(
            p, q=cut(p.q), k=cut(p.k), v=cut(p.v), decay=cut(p.decay), beta=cut(p.beta),
            addition=cut(p.addition),
        )  # fmt: skip
        return problem, cut(self.steps), self.rates, self.skip

    def judge(self, who, output, state, expected: Recurred, tally: "Tally", must_agree) -> list[str]:
        """Holds an output and a state to the recurrence in fp64."""
        wrong = []
        is_ours = who == "attnbench"
        smallest = SMALLEST if is_ours and self.dtype == np.float16 else 0.0
        unit = UNITS[self.dtype] if is_ours else 0.0
        for name, found, right, size, rounding in (
            ("output", output, expected.output, expected.output_size, unit),
            ("state", state, expected.state, expected.state_size, 0.0),
        ):
            if found is None:
                continue
            found = found.astype(np.float64)
            if found.shape != right.shape:
                wrong.append(f"{who}: {name} has shape {found.shape}, expected {right.shape}")
                continue
            # What the element type of an output rounds is not the recurrence's.
            excess = np.abs(found - right) - rounding * np.abs(right) - smallest * (rounding > 0)
            count = np.where(excess <= 0, 0, excess / (UNIT * np.maximum(size, 1e-30)))
            count = np.where(np.isnan(found), np.inf, count)
            tally.note(who, name, self.kind, float(count.max()), excess, right)
            if must_agree and not count.max() <= allowed(self.problem.k.shape[2]):
                at = tuple(int(i) for i in np.unravel_index(count.argmax(), count.shape))
                wrong.append(
                    f"{who}: {name} is off by {count.max():.3g} roundings at {at}: {found[at]:.7g}, "
                    f"expected {right[at]:.7g} ({self.strategy}, {self.kind} decays)"
                )
        return wrong


class Tally:
    """The largest distances from fp64, by who computed and what the decays were like. What outputs in
    fp16 and bf16 are rounded by is left out."""

    def __init__(self):
        self.roundings: dict[tuple[str, str], float] = {}
        self.relative: dict[tuple[str, str], float] = {}
        self.cases: dict[tuple[str, str], int] = {}

    def note(self, who, name, kind, roundings: float, gaps, right) -> None:
        key = (who, "mild" if kind == "none" else kind)
        self.roundings[key] = max(self.roundings.get(key, 0), roundings)
        largest = np.abs(right).max()
        relative = float(max(gaps.max(), 0) / largest) if largest > 0 else 0.0
        relative = np.inf if np.isnan(relative) else relative
        self.relative[key] = max(self.relative.get(key, 0), relative)
        self.cases[key] = self.cases.get(key, 0) + (name == "output")

    def text(self) -> str:
        lines = ["largest distance from the recurrence in fp64, in roundings; and of the largest element:"]
        for who, kind in sorted(self.roundings):
            key = (who, kind)
            lines.append(
                f"  {who:50} {kind:6} decays, {self.cases[key]:4} cases: {self.roundings[key]:9.3g}   "
                f"{self.relative[key]:.1e}"
            )
        return "\n".join(lines)


def check(executable: str, seed: int, indices, peers: bool) -> int:
    """Runs cases, prints what disagrees and how far everybody was off; the number that disagree."""
    failed = 0
    counts: dict[str, int] = {}
    tally = Tally()
    for index in indices:
        case = RecurrentCase(seed, index)
        wrong = case.run(executable, peers, tally)
        for feature in case.features:
            counts[feature] = counts.get(feature, 0) + 1
        if wrong:
            failed += 1
            print(f"recurrence {index}: {'; '.join(wrong)}\n    {case.line}")
    print(", ".join(f"{name} {count}" for name, count in sorted(counts.items())))
    print(tally.text())
    print(f"{len(indices) - failed} of {len(indices)} recurrences agree, seed {seed}")
    return failed
