"""Runs `attnbench run` on NumPy arrays, through files, as a user would."""

import os
import pathlib
import subprocess

import ml_dtypes
import numpy as np
import safetensors
import safetensors.numpy

DTYPES = {
    "F32": np.float32,
    "F16": np.float16,
    "BF16": ml_dtypes.bfloat16,
    "BOOL": np.bool_,
    "I64": np.int64,
    "I32": np.int32,
}


class Failure(Exception):
    """The command left with another code than 0."""


class Command:
    """One command line in the making: tensors are written as they are added."""

    def __init__(self, executable: str, directory: pathlib.Path):
        self.executable = executable
        self.directory = directory
        self.arguments = ["run"]
        self.outputs: dict[str, str] = {}

    def option(self, *words) -> None:
        self.arguments += [str(word) for word in words]

    def tensor(self, option: str, array: np.ndarray) -> None:
        """Gives a tensor: .npy, except for bfloat16, which NumPy's format does not know."""
        array = np.ascontiguousarray(array)
        stem = option.lstrip("-")
        if array.dtype == ml_dtypes.bfloat16:
            name = f"{stem}.safetensors"
            safetensors.numpy.save_file({"x": array}, self.directory / name)
            self.option(option, f"{name}:x")
        else:
            np.save(self.directory / f"{stem}.npy", array)
            self.option(option, f"{stem}.npy")

    def tensors(self, option: str, arrays: dict[str, np.ndarray]) -> None:
        """Gives tensors by their names in one .safetensors file."""
        name = f"{option.lstrip('-')}.safetensors"
        contiguous = {key: np.ascontiguousarray(array) for key, array in arrays.items()}
        safetensors.numpy.save_file(contiguous, self.directory / name)
        self.option(option, name)

    def operand(self, name: str, array: np.ndarray) -> None:
        """Gives what a strategy takes beyond q, k and v: by the option of its own, if it has one."""
        own = {"decay": "--decay", "beta": "--beta", "state": "--past-state"}
        if name in own:
            self.tensor(own[name], array)
        else:
            np.save(self.directory / f"{name}.npy", np.ascontiguousarray(array))
            self.option("--operand", f"{name}={name}.npy")

    def outputs_in_one_file(self, *keys: str) -> None:
        """Asks for the output, and the state where it is among the keys, in one .safetensors file."""
        options = {"o": "--output", "state": "--present-state"}
        for key in keys:
            self.outputs[options[key]] = f"out.safetensors:{key}"
            self.option(options[key], "out.safetensors")

    def output(self, option: str, dtype) -> None:
        """Asks for a tensor."""
        suffix = "safetensors" if np.dtype(dtype) == ml_dtypes.bfloat16 else "npy"
        name = f"out-{option.lstrip('-')}.{suffix}"
        self.outputs[option] = name
        self.option(option, name)

    @property
    def line(self) -> str:
        return " ".join(["attnbench", *self.arguments])

    def run(self) -> dict[str, np.ndarray]:
        """What came out, by option; raises `Failure` with the command's own message."""
        done = subprocess.run(
            [self.executable, *self.arguments],
            cwd=self.directory,
            env={k: v for k, v in os.environ.items() if not k.startswith("OPENBLAS_")},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if done.returncode != 0:
            raise Failure(f"exit code {done.returncode}: {done.stderr.strip()}")
        return {option: self.read(name) for option, name in self.outputs.items()}

    def read(self, name: str) -> np.ndarray:
        name, _, key = name.partition(":")
        path = self.directory / name
        if name.endswith(".npy"):
            return np.load(path)
        tensors = dict(safetensors.deserialize(path.read_bytes()))
        tensor = tensors[key] if key else next(iter(tensors.values()))
        return np.frombuffer(tensor["data"], DTYPES[tensor["dtype"]]).reshape(tensor["shape"])


def default_executable() -> str:
    root = pathlib.Path(__file__).resolve().parents[2]
    return os.environ.get("ATTNBENCH", str(root / ".build" / "release" / "attnbench"))
