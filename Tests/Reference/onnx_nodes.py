"""ONNX's own node tests of Attention and LinearAttention, each as one line of `attnbench run`.

The tests come with the onnx package: inputs, attributes and the expected outputs of its reference
implementation. What is compared is every output of a node: Y, present_key, present_value and
qk_matmul_output; output and present_state. The variants `*_expanded` have the same inputs and outputs
and are not repeated. RotaryEmbedding's tests do not apply, as long as attnbench rotates nothing.
"""

import argparse
import pathlib
import re
import subprocess
import sys
import tempfile
import warnings

import ml_dtypes
import numpy as np
import onnx
from command import Command, Failure, default_executable

# ONNX's own: 1e-3 relative, 1e-7 absolute, and two units in the last place of bfloat16. Its
# reference computes fp16 tests in fp16 throughout, with the error of that; we round once.
TOLERANCES = {
    np.dtype(np.float32): (1e-3, 1e-7),
    np.dtype(np.float16): (2**-9, 2**-11),
    np.dtype(ml_dtypes.bfloat16): (2**-6, 1e-7),
}


OPERATORS = ("Attention", "LinearAttention")


def all_cases():
    """Every node test of the installed onnx, without the expanded ones."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from onnx.backend.test.case.node import collect_testcases

        np.random.seed(0)
        # Of all operators: asked for one, onnx 1.23 answers every later question with its tests.
        cases = collect_testcases()
    return [case for case in cases if "_expanded" not in case.name]


def offers_rotation(executable: str) -> bool:
    """Whether the command's own description of its options and strategies has rotary embeddings."""
    texts = [
        subprocess.run([executable, *words], capture_output=True, text=True, check=True).stdout
        for words in (["run", "--help"], ["list"])
    ]
    return any(re.search(r"\brotary|\brope\b", text, re.IGNORECASE) for text in texts)


def node_tests(cases):
    """The operators' tests: (name, opset, node, inputs, outputs)."""
    for case in cases:
        if case.model.graph.node[0].op_type not in OPERATORS:
            continue
        (node,) = case.model.graph.node
        ((inputs, outputs),) = case.data_sets
        given = dict(zip([name for name in node.input if name], inputs, strict=True))
        expected = dict(zip([name for name in node.output if name], outputs, strict=True))
        yield case.name, case.model.opset_import[0].version, node, given, expected


def linear_command(executable, directory, node, given, expected) -> Command:
    """The command line that says the same as a LinearAttention node.

    The operator has all heads of a token in one axis, also of decay and beta; ours have an axis for
    heads. A beta may be one number for all heads there.
    """
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    kv_heads = attributes["kv_num_heads"]
    rule = attributes.get("update_rule", b"gated_delta").decode()
    run = Command(executable, directory)
    for option, name in (("--q", "query"), ("--k", "key"), ("--v", "value")):
        run.tensor(option, given[name])
    run.option("--layout", "bnd", "--heads", attributes["q_num_heads"], "--kv-heads", kv_heads)
    strategy = "linear(identity)" if rule == "linear" else rule
    if "decay" in given:
        b, n, columns = given["decay"].shape
        decay = given["decay"].reshape(b, n, kv_heads, -1).transpose(0, 2, 1, 3)
        is_per_channel = columns > kv_heads
        strategy += "(channel)" if is_per_channel else "(head)"
        run.tensor("--decay", np.ascontiguousarray(decay if is_per_channel else decay[..., 0]))
    if "beta" in given:
        b, n, _ = given["beta"].shape
        beta = np.broadcast_to(given["beta"], (b, n, kv_heads)).transpose(0, 2, 1)
        run.tensor("--beta", np.ascontiguousarray(beta))
    if "past_state" in given:
        run.tensor("--past-state", given["past_state"])
    if attributes.get("scale"):
        run.option("--scale", attributes["scale"])
    run.option("--causal", "--strategy", strategy)
    run.output("--output", given["query"].dtype)
    run.output("--present-state", np.dtype(np.float32))
    return run


def command(executable, directory, strategy, node, given, expected) -> Command:
    """The command line that says the same as a node."""
    if node.op_type == "LinearAttention":
        return linear_command(executable, directory, node, given, expected)
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    run = Command(executable, directory)
    options = {
        "Q": "--q",
        "K": "--k",
        "V": "--v",
        "attn_mask": "--mask",
        "past_key": "--past-k",
        "past_value": "--past-v",
        "nonpad_kv_seqlen": "--kv-lengths",
    }
    for name, array in given.items():
        run.tensor(options[name], array)
    if given["Q"].ndim == 3:
        run.option("--layout", "bnd", "--heads", attributes["q_num_heads"])
        run.option("--kv-heads", attributes["kv_num_heads"])
    if attributes.get("is_causal"):
        run.option("--causal")
    # Without a cache the operator aligns the first query with the first key.
    if "past_key" not in given and "nonpad_kv_seqlen" not in given:
        run.option("--align", "top-left")
    if "scale" in attributes:
        run.option("--scale", attributes["scale"])
    if attributes.get("softcap"):
        run.option("--softcap", attributes["softcap"])
    left, right = (attributes.get(f"{side}_window_size", -1) for side in ("left", "right"))
    if left >= 0 or right >= 0:
        run.option("--window-left", left, "--window-right", right)
    else:
        run.option("--strategy", strategy)
    # softmax_precision asks for at least what every strategy does: softmax in fp32.
    run.output("--output", given["Q"].dtype)
    if "present_key" in expected:
        run.output("--present-k", given["K"].dtype)
        run.output("--present-v", given["V"].dtype)
    if "qk_matmul_output" in expected:
        run.output("--scores", given["Q"].dtype)
        run.option("--scores-mode", attributes.get("qk_matmul_output_mode", 0))
    return run


OUTPUTS = {
    "Y": "--output",
    "present_key": "--present-k",
    "present_value": "--present-v",
    "qk_matmul_output": "--scores",
    "output": "--output",
    "present_state": "--present-state",
}


def mismatches(expected, found) -> list[str]:
    """What differs, in words; empty where all agrees."""
    wrong = []
    for name, reference in expected.items():
        array = found[OUTPUTS[name]]
        if name == "present_state":
            # Ours is fp32 whatever the inputs.
            array = array.astype(reference.dtype)
        if array.shape != reference.shape or array.dtype != reference.dtype:
            wrong.append(
                f"{name} is {array.dtype}{list(array.shape)}, "
                f"expected {reference.dtype}{list(reference.shape)}"
            )
            continue
        relative, absolute = TOLERANCES[reference.dtype]
        a, b = array.astype(np.float32), reference.astype(np.float32)
        with np.errstate(invalid="ignore"):
            near = np.isfinite(b) & (np.abs(a - b) <= absolute + relative * np.abs(b))
        agrees = (a == b) | near
        if not agrees.all():
            worst = np.nanmax(np.abs(np.where(agrees, 0, a - b)))
            wrong.append(f"{name}: {(~agrees).sum()} of {a.size} differ, by up to {worst:.2g}")
    return wrong


# Small ones that between them use every option; `swift test` runs them without Python.
FIXTURES = (
    "test_attention_3d_gqa_with_past_and_present",
    "test_attention_4d_diff_heads_mask4d_padded_kv",
    "test_attention_4d_softcap_neginf_mask_poison",
    "test_attention_4d_with_qk_matmul_softcap",
    "test_attention_4d_causal_nonpad_attn_mask_composition",
    "test_attention_23_fullymasked_qk_matmul_output_mode3_zero",
    "test_attention_bidirectional_window",
    "test_attention_local_window_with_past",
    "test_attention_local_window_gqa_rank4_mask",
    "test_linear_attention_gated_delta_gqa",
    "test_linear_attention_decode_step",
    "test_linear_attention_gated_per_head_decay",
)


def write_fixture(root: pathlib.Path, name, node, given, expected) -> None:
    """A test's tensors, its command line without outputs and what must come out."""
    directory = root / name.removeprefix("test_").removeprefix("attention_")
    directory.mkdir(parents=True, exist_ok=True)
    run = command("attnbench", directory, "flash", node, given, expected)
    (directory / "arguments").write_text("\n".join(run.arguments) + "\n")
    for output, array in expected.items():
        np.save(directory / f"expected{OUTPUTS[output]}.npy", array)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--attnbench", default=default_executable())
    parser.add_argument("--only", default="", help="part of a test's name")
    parser.add_argument("--show", action="store_true", help="print the command lines")
    parser.add_argument("--fixtures", type=pathlib.Path, help="write a few tests here instead")
    arguments = parser.parse_args()
    failed = total = 0
    cases = all_cases()
    for name, opset, node, given, expected in node_tests(cases):
        if arguments.fixtures:
            if name in FIXTURES:
                write_fixture(arguments.fixtures, name, node, given, expected)
                total += 1
            continue
        if arguments.only not in name:
            continue
        for strategy in ("full", "flash"):
            with tempfile.TemporaryDirectory() as directory:
                run = command(
                    arguments.attnbench, pathlib.Path(directory), strategy, node, given, expected
                )
                try:
                    wrong = mismatches(expected, run.run())
                except Failure as failure:
                    wrong = [str(failure)]
            total += 1
            failed += bool(wrong)
            if node.op_type == "LinearAttention":
                strategy = "linear"
            elif "--strategy" not in run.arguments:
                strategy = "window"
            verdict = "MISMATCH " + "; ".join(wrong) if wrong else "ok"
            print(f"{opset}  {strategy:6}  {name:66}  {', '.join(expected)}: {verdict}")
            if arguments.show or wrong:
                print(f"    {run.line}")
            if strategy in ("window", "linear"):
                break
    if arguments.fixtures:
        print(f"wrote {total} of {len(FIXTURES)} tests")
        return 0 if total == len(FIXTURES) else 1
    print(f"{total - failed} of {total} agree")
    rotary = sum(case.model.graph.node[0].op_type == "RotaryEmbedding" for case in cases)
    if offers_rotation(arguments.attnbench):
        print(f"RotaryEmbedding: attnbench speaks of it, and its {rotary} tests are not compared here")
        failed += 1
    else:
        print(
            f"RotaryEmbedding: its {rotary} tests do not apply: attnbench takes queries and keys as they "
            "are, already rotated"
        )
    return 1 if failed or not total else 0


if __name__ == "__main__":
    sys.exit(main())
