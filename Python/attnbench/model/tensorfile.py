"""A safetensors file written piece by piece, all of it or none."""

from __future__ import annotations

import json
import os
import shutil
import stat
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType

import torch

from .errors import ModelError

ELEMENT_TYPES: Mapping[str, tuple[str, torch.dtype]] = {
    "f16": ("F16", torch.float16),
    "bf16": ("BF16", torch.bfloat16),
    "f32": ("F32", torch.float32),
}
"""Names on the command line, in the file and in torch."""


@dataclass(frozen=True)
class TensorEntry:
    """A tensor to come: its name in the file and its shape."""

    name: str
    shape: tuple[int, ...]


def writable_target(path: str, option: str) -> str:
    """Where a file is to be written, links followed.

    Raises:
        ModelError: for a folder, a device, or a folder that is missing or cannot be written.
    """
    target = os.path.realpath(path)
    folder = os.path.dirname(target)
    if not os.path.basename(path):
        raise ModelError(f"{option} {path}: must name a file; add its name")
    if not os.path.isdir(folder):
        raise ModelError(f"{option} {path}: {folder} is no folder; make it or write elsewhere")
    if os.path.exists(target) and not stat.S_ISREG(os.stat(target).st_mode):
        raise ModelError(f"{option} {path}: is no plain file; name a file")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ModelError(f"{option} {path}: {folder} cannot be written to; write elsewhere")
    return target


class FileTransaction:
    """A hidden file beside the target, which takes the target's place when all went well.

    Whatever happens in the ``with`` block, the target is either the new file or what it was before.
    """

    def __init__(self, path: str, option: str = "-o") -> None:
        self.path, self.option = path, option
        self.target = writable_target(path, option)

    def __enter__(self) -> FileTransaction:
        try:
            self.descriptor, self.temporary = tempfile.mkstemp(
                prefix=f".{os.path.basename(self.target)}.", suffix=".part",
                dir=os.path.dirname(self.target))
        except OSError as error:
            raise self.failure(error) from error
        return self

    def write(self, data: bytes | memoryview, offset: int) -> None:
        """Writes bytes at an offset in the file."""
        view = memoryview(data).cast("B")
        try:
            while view:
                count = os.pwrite(self.descriptor, view[: 1 << 24], offset)
                view, offset = view[count:], offset + count
        except OSError as error:
            raise self.failure(error) from error

    def failure(self, error: OSError) -> ModelError:
        return ModelError(
            f"{self.option} {self.path}: {error.strerror}; nothing was written, what stood there is as "
            "it was")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                mask = os.umask(0)
                os.umask(mask)
                os.fchmod(
                    self.descriptor,
                    stat.S_IMODE(os.stat(self.target).st_mode) if os.path.exists(self.target)
                    else 0o666 & ~mask)
                os.fsync(self.descriptor)
                os.replace(self.temporary, self.target)
                self.temporary = ""
        except OSError as failure:
            raise self.failure(failure) from failure
        finally:
            os.close(self.descriptor)
            if self.temporary:
                os.unlink(self.temporary)


class TensorFile(FileTransaction):
    """A safetensors file whose header is written first and whose tensors come one by one."""

    def __init__(
        self, path: str, entries: Sequence[TensorEntry], dtype: str, metadata: Mapping[str, str]
    ) -> None:
        super().__init__(path)
        self.name, self.dtype = ELEMENT_TYPES[dtype]
        size = self.dtype.itemsize
        header: dict[str, object] = {"__metadata__": dict(metadata)}
        self.offsets: dict[str, tuple[int, tuple[int, ...]]] = {}
        end = 0
        for entry in entries:
            start, end = end, end + size * int(torch.Size(entry.shape).numel())
            header[entry.name] = {
                "dtype": self.name, "shape": list(entry.shape), "data_offsets": [start, end]}
            self.offsets[entry.name] = (start, entry.shape)
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        text += b" " * (-len(text) % 8)
        self.header = len(text).to_bytes(8, "little") + text
        self.size = len(self.header) + end
        self.missing = set(self.offsets)
        self._check_disk()

    def _check_disk(self) -> None:
        free = shutil.disk_usage(os.path.dirname(self.target)).free
        if self.size > free:
            raise ModelError(
                f"-o {self.path}: the file takes {bytes_text(self.size)} and {bytes_text(free)} are free; "
                "make room, or capture fewer --layers or a smaller --n")

    def __enter__(self) -> TensorFile:
        super().__enter__()
        try:
            # Takes the room now: a disk that fills up later does no harm.
            os.posix_fallocate(self.descriptor, 0, self.size)
            self.write(self.header, 0)
        except BaseException as error:
            super().__exit__(type(error), error, None)
            if isinstance(error, OSError):
                raise self.failure(error) from error
            raise
        return self

    def put(self, name: str, tensor: torch.Tensor) -> None:
        """Writes one tensor of the header, converted to the file's type.

        Raises:
            ModelError: when a finite value is too large for the type, and for a full disk.
        """
        start, shape = self.offsets[name]
        if tuple(tensor.shape) != shape:
            raise ModelError(
                f"{name} has the shape {list(tensor.shape)} and had {list(shape)} in a trial with few "
                "tokens: this model's layers cannot be captured")
        converted = tensor.detach().to("cpu", self.dtype).contiguous()
        if bool(converted.isinf().any()):
            largest = tensor[tensor.isfinite()].abs().max().item()
            if largest > torch.finfo(self.dtype).max:
                raise ModelError(
                    f"--dtype {self.name.lower()}: {name} holds {largest:.4g}, more than the type can; "
                    "use --dtype bf16 or f32")
        self.write(memoryview(converted.view(torch.uint8).numpy()), len(self.header) + start)
        self.missing.discard(name)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        absent = ModelError(f"{', '.join(sorted(self.missing))}: never seen in the forward pass")
        if kind is None and self.missing:
            super().__exit__(ModelError, absent, None)
            raise absent
        super().__exit__(kind, error, trace)


def write_text(path: str, text: str, option: str) -> None:
    """Writes a text file, all of it or none."""
    with FileTransaction(path, option) as file:
        file.write(text.encode(), 0)


def bytes_text(count: int) -> str:
    """A number of bytes as a person reads it."""
    size, unit = float(count), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if size < 1024 or unit == "TiB":
            break
        size /= 1024
    return f"{count} B" if unit == "B" else f"{size:.3g} {unit}"
