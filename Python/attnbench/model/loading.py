"""Models, tokenizers and texts, all from this machine's files."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from .errors import ModelError, UsageError

CHARACTERS_PER_TOKEN = 16
WEIGHTS = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}


@dataclass(frozen=True)
class Tokens:
    """The first tokens of one or more texts, ``[texts, n]``, and where they are from."""

    ids: torch.Tensor
    text: str

    @property
    def texts(self) -> int:
        return self.ids.shape[0]

    @property
    def rows(self) -> list[torch.Tensor]:
        """Each text's tokens, ``[1, n]``: what a pass takes where memory is dear."""
        return list(self.ids.split(1))

    @property
    def predictions(self) -> int:
        """How many tokens are predicted from those before them."""
        return self.texts * (self.count - 1)

    @property
    def count(self) -> int:
        return self.ids.shape[1]

    @property
    def sha256(self) -> str:
        """Of the numbers as little-endian 64-bit integers."""
        return hashlib.sha256(self.ids.numpy().astype("<i8").tobytes()).hexdigest()


_OF_A_MODEL = re.compile(
    r"(config|generation_config|tokenizer.*|special_tokens_map|added_tokens|vocab)\.json|.*\.(safetensors|bin|gguf)"
    r"|.*\.index\.json|(vocab|merges)\.txt|tokenizer\.model|chat_template\.\w+")


def model_files(path: str) -> list[str]:
    """The files of a model or a tokenizer: one file, or those of a folder that transformers reads."""
    if not os.path.isdir(path):
        return [path]
    return [
        os.path.join(path, name) for name in sorted(os.listdir(path))
        if _OF_A_MODEL.fullmatch(name)]


@dataclass(frozen=True)
class ModelFiles:
    """Where a model is: a folder as transformers saves it, or one GGUF file in its folder."""

    path: str
    folder: str
    gguf: str | None

    @staticmethod
    def find(path: str) -> ModelFiles:
        """Looks what MODEL is.

        Raises:
            ModelError: when it is neither a folder with a config.json nor a GGUF file.
        """
        place = Path(path)
        if place.is_dir():
            if not (place / "config.json").is_file():
                found = sorted(file.name for file in place.glob("*.gguf"))
                raise ModelError(
                    f"MODEL {path}: a folder without config.json; "
                    + (f"name a file in it: {place / found[0]}" if found
                       else "give a folder that transformers' save_pretrained wrote, or a GGUF file"))
            return ModelFiles(path, path, None)
        if not place.exists():
            raise ModelError(
                f"MODEL {path}: not found; give a folder that transformers' save_pretrained wrote, or a "
                "GGUF file (nothing is fetched from a hub)")
        with _reading(place, "MODEL") as file:
            magic = file.read(4)
        if magic != b"GGUF":
            raise ModelError(
                f"MODEL {path}: no GGUF file; give one, or a folder that transformers' save_pretrained "
                "wrote")
        if part := re.search(r"\.part\d+$", place.name):
            whole = path.removesuffix(part.group())
            raise ModelError(f"MODEL {path}: one part of a file; join them: cat {whole}.part* > {whole}")
        return ModelFiles(path, str(place.parent), place.name)

    @property
    def name(self) -> str:
        """The file's or folder's own name."""
        return self.gguf or os.path.basename(os.path.abspath(self.folder))

    def load(self, weights: str) -> Any:
        """The model, with its head where it predicts tokens, ready to run on the CPU.

        Raises:
            ModelError: when transformers cannot load it.
        """
        import transformers

        self._refuse_scaled_positions()
        options = dict(dtype=WEIGHTS[weights], local_files_only=True, **self._gguf_option)
        try:
            config = transformers.AutoConfig.from_pretrained(
                self.folder, local_files_only=True, **self._gguf_option)
            names = getattr(config, "architectures", None) or []
            is_decoder = type(config) in transformers.MODEL_FOR_CAUSAL_LM_MAPPING and (
                not names or any("CausalLM" in name or "LMHead" in name or "ConditionalGeneration" in name
                                 for name in names))
            kind = transformers.AutoModelForCausalLM if is_decoder else transformers.AutoModel
            # With the configuration at hand a GGUF file's vocabulary is not parsed once more for it.
            model = kind.from_pretrained(self.folder, config=config, **options)
        except (OSError, ValueError, KeyError, ImportError, RuntimeError, NotImplementedError) as error:
            raise ModelError(
                f"MODEL {self.path}: transformers {transformers.__version__} cannot load it: "
                f"{_first_line(error)}") from error
        return model.eval().requires_grad_(False)

    def _refuse_scaled_positions(self) -> None:
        """transformers reads GGUF files without the scaling of their rotary angles, and says nothing.

        Raises:
            ModelError: when the file has such a scaling.
        """
        if self.gguf is None:
            return
        try:
            from gguf import GGUFReader
        except ImportError:
            return  # transformers says so, and how to get it
        try:
            reader = GGUFReader(self.path)
        except (OSError, ValueError) as error:
            raise ModelError(f"MODEL {self.path}: no GGUF file that can be read: {_first_line(error)}") from error
        found = [name for name in reader.fields if ".rope.scaling." in name]
        for name in found:
            field = reader.fields[name]
            if name.endswith(".rope.scaling.type") and bytes(field.parts[field.data[0]]) == b"none":
                return
        found += [tensor.name for tensor in reader.tensors if tensor.name.startswith("rope_")]
        if not found:
            return
        raise ModelError(
            f"MODEL {self.path}: has {', '.join(found)}, and transformers {transformers_version()} drops the "
            "scaling of rotary positions of GGUF files, so that distant tokens would be wrong; give the "
            "folder that the model was converted from")

    def tokenizer(self, other: str | None) -> Any:
        """The model's own tokenizer, or the one in another folder or GGUF file.

        Raises:
            ModelError: when there is none.
        """
        import transformers

        files = self if other is None else ModelFiles._of_tokenizer(other)
        try:
            return transformers.AutoTokenizer.from_pretrained(
                files.folder, local_files_only=True, **files._gguf_option)
        except Exception as error:  # transformers raises a different kind for each thing that is missing
            argument = f"MODEL {self.path}" if other is None else f"--tokenizer {other}"
            raise ModelError(
                f"{argument}: no tokenizer that transformers can load ({_first_line(error)}); put "
                "tokenizer.json beside the weights, or name a folder that has one with --tokenizer"
            ) from error

    @staticmethod
    def _of_tokenizer(path: str) -> ModelFiles:
        place = Path(path)
        if not place.exists():
            raise ModelError(f"--tokenizer {path}: not found; give a folder or a GGUF file")
        return ModelFiles(path, path, None) if place.is_dir() else ModelFiles(
            path, str(place.parent), place.name)

    @property
    def _gguf_option(self) -> dict[str, str]:
        return {} if self.gguf is None else {"gguf_file": self.gguf}


def read_tokens(tokenizer: Any, path: str, n: int, option: str = "--text") -> Tokens:
    """The first ``n`` tokens of a text file, special tokens as the tokenizer adds them.

    Raises:
        ModelError: when the file cannot be read as UTF-8 or has fewer tokens.
    """
    with _reading(Path(path), option) as file:
        data = file.read()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ModelError(
            f"{option} {path}: no UTF-8 text (byte {error.start}); give plain text") from error
    # The last tokens of a cut text may be others than those of the whole.
    start = text[: CHARACTERS_PER_TOKEN * (n + 64)]
    ids = tokenizer(start)["input_ids"]
    if len(start) < len(text) and len(ids) < n + 16:
        ids = tokenizer(text)["input_ids"]
    if len(ids) < n:
        raise ModelError(
            f"{option} {path}: has {len(ids)} tokens, --n {n} needs {n}; give a longer text or --n "
            f"{len(ids)}" if len(ids) > 1 else
            f"{option} {path}: has {len(ids)} tokens; give a text of at least {n}")
    return Tokens(torch.tensor([ids[:n]], dtype=torch.int64), os.path.basename(path))


def read_texts(tokenizer: Any, paths: Sequence[str], n: int, option: str = "--text") -> Tokens:
    """The first ``n`` tokens of each of several text files.

    Raises:
        ModelError: as ``read_tokens``, and when one starts as another does: it would count twice.
    """
    texts = [read_tokens(tokenizer, path, n, option) for path in paths]
    for place, text in enumerate(texts):
        for other in range(place):
            if torch.equal(text.ids, texts[other].ids):
                raise ModelError(
                    f"{option} {paths[place]}: has the tokens of {paths[other]}; give it once, and texts of "
                    "other kinds")
    return Tokens(torch.cat([text.ids for text in texts]), ", ".join(text.text for text in texts))


def check_length(model: Any, n: int, say: Any) -> None:
    """Warns where a text is longer than what the model was made for."""
    most = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    if isinstance(most, int) and n > most:
        say(f"warning: --n {n}: the model was made for {most} positions; its loss beyond them says little")


def parse_count(text: str, option: str, least: int = 1) -> int:
    """A size as ``4096``, ``4k`` or ``4Ki``."""
    match = re.fullmatch(r"([0-9][0-9_]*)(k|Ki)?", text)
    value = int(match[1].replace("_", "")) * {None: 1, "k": 1000, "Ki": 1024}[match[2]] if match else 0
    if value < least:
        raise UsageError(f"{option} {text}: must be a whole number, {least} or more; write for example 4096")
    return value


def parse_layers(text: str, available: list[int]) -> list[int]:
    """Layer numbers as ``all`` or ``0,4,7-9``.

    Raises:
        UsageError: for other words, and naming layers that are not there.
    """
    if text == "all":
        return available
    wanted: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)(?:-(\d+))?\s*", part)
        if match is None or (match[2] is not None and int(match[2]) < int(match[1])):
            raise UsageError(f"--layers {text}: '{part}' is no layer; write all, or for example 0,4,7-9")
        last = int(match[2] or match[1])
        if last - int(match[1]) > 10_000:
            raise UsageError(f"--layers {text}: '{part}' is more layers than a model has")
        wanted.update(range(int(match[1]), last + 1))
    if unknown := sorted(wanted - set(available)):
        raise UsageError(
            f"--layers {text}: no layer {ranges_text(unknown)} to capture; there are "
            f"{ranges_text(available)}")
    return sorted(wanted)


def ranges_text(numbers: list[int]) -> str:
    """Sorted numbers as ``0-3,7``."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ",".join(str(part[0]) if len(part) == 1 else f"{part[0]}-{part[-1]}" for part in parts)


def read_json(path: str, option: str) -> Any:
    """A JSON file's content.

    Raises:
        ModelError: when it cannot be read or is none.
    """
    with _reading(Path(path), option) as file:
        data = file.read()
    try:
        return json.loads(data)
    except ValueError as error:
        raise ModelError(f"{option} {path}: no JSON ({error})") from error


def _reading(path: Path, option: str) -> Any:
    try:
        return path.open("rb")
    except OSError as error:
        raise ModelError(f"{option} {path}: {error.strerror}; give a file that can be read") from error


def transformers_version() -> str:
    import transformers

    return str(transformers.__version__)


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__
