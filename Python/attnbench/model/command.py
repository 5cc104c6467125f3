"""The command ``attnbench-model``: parses, runs, prints."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import math
import os
import shlex
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

from .. import __version__
from .errors import FAILURE, INTERRUPTED, SUCCESS, ModelError, UsageError


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code: 0, 1 a failure, 64 usage, 130 interrupted."""
    _set_environment()
    try:
        options = _parser().parse_args(arguments)
        with _terminated_as_interrupted():
            return options.run(options)
    except ModelError as error:
        say(f"error: {error}")
        return error.exit_code
    except KeyboardInterrupt:
        say("interrupted: no file was changed that was not complete")
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return SUCCESS
    except MemoryError:
        say("error: out of memory; use a smaller --n")
        return FAILURE


def say(text: str) -> None:
    """A line for the person, not for the pipe."""
    print(text, file=sys.stderr, flush=True)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}\n{self.format_usage().strip()}\nmore: {self.prog} --help")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="attnbench-model", allow_abbrev=False,
        description="From a transformers model to its attention's tensors, to a plan for each head of each "
        "layer, to what the plan costs in loss.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)

    def command(name: str, run: Any, text: str, example: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(
            name, help=text, description=text[0].upper() + text[1:] + ".", epilog=f"Example: {example}",
            allow_abbrev=False)
        sub.set_defaults(run=run)
        sub.add_argument("model", metavar="MODEL", help="a folder as transformers saves it, or a GGUF file")
        sub.add_argument(
            "--text", required=True, action="append", metavar="FILE",
            help="a UTF-8 text; its first tokens are used; may be given again, for texts of other kinds")
        sub.add_argument("--n", default="4096", help="how many tokens (default: %(default)s)")
        sub.add_argument("--tokenizer", metavar="FOLDER", help="where the tokenizer is, if not with the model")
        sub.add_argument(
            "--weights", choices=("f32", "bf16", "f16"), default="f32",
            help="what the model is held and computed in (default: %(default)s)")
        sub.add_argument("--threads", metavar="N", help="of the model and the attention (default: all cores)")
        return sub

    capture = command(
        "capture", _capture, "write a model's queries, keys and values on a text to a safetensors file",
        "attnbench-model capture model.gguf --text book.txt --n 4096 -o qkv.safetensors")
    capture.add_argument("--layers", default="all", help="all, or as 0,4,7-9 (default: %(default)s)")
    capture.add_argument(
        "--dtype", choices=("f16", "bf16", "f32"), default="f16", help="in the file (default: %(default)s)")
    capture.add_argument("-o", "--output", required=True, metavar="FILE", help="the safetensors file")

    evaluate = command(
        "evaluate", _evaluate, "measure a plan's loss and time beside full attention's",
        "attnbench-model evaluate model.gguf --plan plan.json --text other.txt")
    evaluate.add_argument("--plan", metavar="FILE", help="as attnbench recommend --save writes it")
    evaluate.add_argument("--layer", metavar="N", help="the layer of a plan that is for a single one")
    evaluate.add_argument(
        "--sensitivity", metavar="FILE",
        help="what an error in each layer costs: read if the file exists, else measured on --text and written")
    evaluate.add_argument("--json", action="store_true", help="everything, as JSON")
    _add_rounds(evaluate)

    choose = command(
        "choose", _choose, "capture, measure sensitivities, recommend, evaluate: all in one",
        "attnbench-model choose model.gguf --text book.txt --test-text other.txt --max-loss-increase 0.01 "
        "-o plan.json")
    choose.add_argument("--test-text", required=True, metavar="FILE", help="a text to prove the plan on")
    choose.add_argument(
        "--max-loss-increase", required=True, metavar="X", help="nats a token that the plan may cost")
    choose.add_argument("-o", "--output", required=True, metavar="FILE", help="the plan")
    choose.add_argument(
        "--keep", metavar="FOLDER", help="keep the steps' files here, and use those that are there")
    choose.add_argument("--attnbench", metavar="COMMAND", help="the attnbench command (default: in PATH)")
    choose.add_argument("--budget", metavar="TIME", help="of attnbench recommend, as 5m")
    choose.add_argument(
        "--strategy", metavar="LIST",
        help="of attnbench recommend: the candidates; all: of every family (default: windows with sinks, whose "
        "errors carry over to other texts best)")
    _add_rounds(choose)
    return parser


def _add_rounds(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--rounds", default="3", help="of timing, after one that does not count; 0: none (default: %(default)s)")


def _capture(options: argparse.Namespace) -> int:
    from .capture import capture
    from .choice import windows
    from .loading import parse_layers
    from .tensorfile import bytes_text

    _check_output(options)
    session = _Session(options, "--text")
    layers = parse_layers(options.layers, list(session.found.layers))
    _say_left_out(session)
    _say_one_text(session)
    with _progress(len(layers), "layer") as bar:
        written = capture(
            session.model, session.tokens, session.found, layers, options.output, dtype=options.dtype,
            name=session.name, version=__version__, progress=lambda layer: bar.update())
    say(
        f"{written.path}: {len(layers)} layers of {session.name}, {session.tokens.count} tokens of "
        f"{session.tokens.text}, {options.dtype}, {bytes_text(written.size)}")
    say(
        f"next: attnbench recommend --inputs {shlex.quote(written.path)} --max-total-error 0.3 --strategy "
        f"{shlex.quote(windows(session.tokens.count))} --save plan.json")
    return SUCCESS


def _evaluate(options: argparse.Namespace) -> int:
    from .evaluation import evaluate, evaluation_json, evaluation_text, passes
    from .losses import check_has_loss
    from .plans import attnbench_use, read_plan
    from .tensorfile import writable_target

    if options.layer is not None and options.plan is None:
        raise UsageError(f"--layer {options.layer}: says which layer --plan is for; add --plan FILE")
    if options.plan is None and options.sensitivity is None:
        raise UsageError(
            "--plan FILE: missing; give the plan to evaluate, or --sensitivity FILE to measure sensitivities")
    layer = None if options.layer is None else _count(options.layer, "--layer", 0)
    rounds = _count(options.rounds, "--rounds", 0)
    is_measuring = options.sensitivity is not None and not os.path.exists(options.sensitivity)
    if is_measuring:
        writable_target(options.sensitivity, "--sensitivity")
    elif options.plan is None:
        raise UsageError(
            f"--sensitivity {options.sensitivity}: exists, and there is no --plan to predict for; remove it "
            "to measure it anew, or add --plan FILE")
    use = attnbench_use(_threads(options))
    session = _Session(options, "--text")
    check_has_loss(session.model)
    plan = None if options.plan is None else read_plan(options.plan, session.found, layer)
    sensitivities, losses = None, None
    if options.sensitivity is not None:
        sensitivities, losses = _sensitivities(session, options.sensitivity, use)
    if plan is None:
        return SUCCESS
    with _progress(passes(rounds), "pass") as bar:
        result = evaluate(
            session.model, session.tokens, plan, use, sensitivities=sensitivities, found=session.found,
            full_losses=losses, rounds=rounds, progress=bar.update)
    if options.json:
        print(evaluation_json(result, session.tokens, plan, name=session.name, version=__version__))
    else:
        print(evaluation_text(result, session.tokens, plan))
    return SUCCESS


def _choose(options: argparse.Namespace) -> int:
    from .capture import capture
    from .choice import ATTEMPTS, find_attnbench, plan_again, recommend, tightened, windows
    from .evaluation import all_losses, evaluate, evaluation_text, measure_times, timed_passes
    from .loading import read_tokens
    from .losses import check_has_loss
    from .plans import attnbench_use, read_plan
    from .tensorfile import FileTransaction

    limit = _positive(options.max_loss_increase, "--max-loss-increase")
    rounds = _count(options.rounds, "--rounds", 0)
    _check_output(options)
    command = find_attnbench(options.attnbench)
    use = attnbench_use(_threads(options))
    session = _Session(options, "--text")
    check_has_loss(session.model)
    test = read_tokens(session.tokenizer, options.test_text, session.tokens.count, "--test-text")
    _say_left_out(session)
    _say_one_text(session)
    if any((row == test.ids).all() for row in session.tokens.rows):
        say(
            f"note: --test-text {options.test_text}: starts as a text that the plan is chosen on, and proves "
            "nothing about others; give one that no step has seen")
    with _folder(options.keep) as folder:
        inputs, weights, plan_path, record = (
            os.path.join(folder, name)
            for name in ("qkv.safetensors", "sensitivity.json", "plan.json", "choice.json"))
        common = _common_options(options)
        texts = [part for path in options.text for part in ("--text", path)]
        if os.path.exists(inputs):
            _check_capture(inputs, session)
            say(f"{inputs}: of this text already")
        else:
            say(f"$ {shlex.join(['attnbench-model', 'capture', *common, *texts, '-o', inputs])}")
            layers = list(session.found.layers)
            with _progress(len(layers), "layer") as bar:
                capture(
                    session.model, session.tokens, session.found, layers, inputs, dtype="f16",
                    name=session.name, version=__version__, progress=lambda layer: bar.update())
        say("$ " + shlex.join(["attnbench-model", "evaluate", *common, *texts, "--sensitivity", weights]))
        sensitivities, _ = _sensitivities(session, weights, use, session.tokens.sha256)
        extra = [
            *(["--budget", options.budget] if options.budget else []),
            *([] if options.strategy == "all" else
              ["--strategy", options.strategy or windows(session.tokens.count)]),
            *(["--threads", options.threads] if options.threads else [])]
        # The same for all plans.
        losses = all_losses(session.model, test)
        aim = limit
        for attempt in range(ATTEMPTS):
            if attempt:
                plan_again(command, record, aim, plan_path, say)
            else:
                recommend(command, inputs, weights, aim, plan_path, record, extra, say)
            plan = read_plan(plan_path, session.found)
            say(
                "$ " + shlex.join([
                    "attnbench-model", "evaluate", *common, "--text", options.test_text, "--plan", plan_path,
                    "--sensitivity", weights]))
            result = evaluate(
                session.model, test, plan, use, sensitivities=sensitivities, found=session.found,
                full_losses=losses, rounds=0)
            is_kept = result.increase.mean <= limit
            if is_kept or attempt == ATTEMPTS - 1 or not result.predicted or result.predicted <= 0:
                break
            aim = min(aim, tightened(min(aim, result.predicted), result.increase.mean, limit))
            say(
                f"loss increase {result.increase.mean:.4f} on {test.text}, more than {limit:g}: choosing "
                f"again for a predicted {aim:.4g}")
        if rounds:
            with _progress(timed_passes(rounds), "pass") as bar:
                times = measure_times(
                    session.model, test.ids, plan, use, rounds=rounds, progress=bar.update)
            result = dataclasses.replace(result, times=times)
        with open(plan_path, "rb") as file, FileTransaction(options.output) as target:
            target.write(file.read(), 0)
    print(evaluation_text(result, test, plan))
    if attempt:
        print(
            f"plan {attempt + 1}: the limit it was chosen with was set by the loss of earlier ones on "
            f"{test.text}; prove it on one more text: attnbench-model evaluate {shlex.quote(options.model)} "
            f"--plan {shlex.quote(options.output)} --text OTHER")
    high = result.increase.high
    if is_kept:
        certainty = (
            "the whole interval does" if high <= limit else
            "its interval reaches beyond: a longer --n narrows it" if not math.isnan(high) else
            "too few tokens for an interval")
        print(f"{options.output}: keeps to --max-loss-increase {limit:g} on {test.text}; {certainty}")
        return SUCCESS
    say(
        f"error: --max-loss-increase {limit:g}: the best of {ATTEMPTS} plans costs "
        f"{result.increase.mean:.4f} on {test.text}; {options.output} holds the last; allow more, or capture a "
        "text more like it")
    return FAILURE


class _Session:
    """A model, its texts, and what a few tokens show of its layers."""

    def __init__(self, options: argparse.Namespace, option: str) -> None:
        from .loading import ModelFiles, check_length, parse_count, read_texts

        n = parse_count(options.n, "--n", 2)
        threads = _threads(options)
        files = ModelFiles.find(options.model)
        _quiet_transformers()
        import torch

        from .taps import survey

        if threads is not None:
            torch.set_num_threads(threads)
        self.name = files.name
        # A tokenizer and a text are read in less time than weights.
        self.tokenizer = files.tokenizer(options.tokenizer)
        self.tokens = read_texts(self.tokenizer, options.text, n, option)
        self.model = files.load(options.weights)
        check_length(self.model, n, say)
        self.found = survey(self.model, self.tokens.rows[0])


def _sensitivities(
    session: _Session, path: str, use: Any, tokens_sha256: str | None = None
) -> tuple[Any, Any]:
    """Reads a file of sensitivities, or measures and writes it; full attention's losses where measured."""
    from .sensitivity import ERROR, Sensitivities, measure, read_sensitivities, sensitivity_json
    from .tensorfile import write_text

    if os.path.exists(path):
        say(f"sensitivities: read from {path}")
        return read_sensitivities(path, session.name, tokens_sha256), None
    say(
        f"sensitivities: one layer at a time runs a window with an error near {ERROR} on "
        f"{session.tokens.text}")
    with _progress(session.tokens.texts * len(session.found.layers), "layer") as bar:
        layers, losses = measure(
            session.model, session.tokens, session.found, use, progress=lambda layer: bar.update())
    write_text(
        path, sensitivity_json(
            layers, session.tokens, losses, name=session.name, version=__version__),
        "--sensitivity")
    say(f"{path}: loss of full attention {losses.mean().item():.4f}; nats per squared error of the layers "
        + ", ".join(f"{layer.layer}: {layer.weight:.3g}" for layer in layers))
    return Sensitivities(
        {layer.layer: layer.weight for layer in layers}, session.tokens.text), losses


def _check_capture(path: str, session: _Session) -> None:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise ModelError(f"--keep: {path} is no capture ({error}); remove it") from error
    if (metadata.get("tokens_sha256"), metadata.get("model")) != (session.tokens.sha256, session.name):
        raise ModelError(f"--keep: {path} is of another model or text; remove it, or keep in another folder")


def _check_output(options: argparse.Namespace) -> None:
    """Refuses an output that could not be written, or that would take the place of what is read."""
    from .loading import model_files
    from .tensorfile import writable_target

    target = writable_target(options.output, "-o")
    inputs = [("--text", path) for path in options.text]
    if getattr(options, "test_text", None):
        inputs.append(("--test-text", options.test_text))
    inputs += [("MODEL", path) for path in model_files(options.model)]
    if options.tokenizer:
        inputs += [("--tokenizer", path) for path in model_files(options.tokenizer)]
    for option, path in inputs:
        if os.path.realpath(path) == target:
            raise UsageError(f"-o {options.output}: is {option} {path}, which would be lost; write elsewhere")


def _say_left_out(session: _Session) -> None:
    for layer, why in session.found.left_out.items():
        say(f"layer {layer}: left out: {why}")


def _say_one_text(session: _Session) -> None:
    if session.tokens.texts == 1:
        say(
            "note: one text: a plan that is chosen on it may err several times as much on another; give "
            "--text again, with another kind")


def _common_options(options: argparse.Namespace) -> list[str]:
    given = [options.model, "--n", options.n]
    for name in ("tokenizer", "threads"):
        if value := getattr(options, name):
            given += [f"--{name}", value]
    return given + (["--weights", options.weights] if options.weights != "f32" else [])


def _threads(options: argparse.Namespace) -> int | None:
    return None if options.threads is None else _count(options.threads, "--threads", 1)


def _count(text: str, option: str, least: int) -> int:
    if not (text.isascii() and text.isdigit()) or int(text) < least:
        raise UsageError(f"{option} {text}: must be a whole number, {least} or more")
    return int(text)


def _positive(text: str, option: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise UsageError(f"{option} {text}: must be a number above 0, in nats a token; write for example 0.01")
    return value


def _set_environment() -> None:
    """What other packages read when they are imported, PyTorch among them, and not again: no network, no
    bars into files."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if not sys.stderr.isatty():
        os.environ.setdefault("TQDM_DISABLE", "1")


def _quiet_transformers() -> None:
    """transformers, checked, and without its own remarks."""
    try:
        import transformers
    except ImportError as error:
        raise ModelError(f"{error.name}: not installed; pip install 'attnbench[transformers]'") from error
    if int(transformers.__version__.split(".")[0]) < 5:
        raise ModelError(f"transformers {transformers.__version__}: is too old; pip install 'transformers>=5'")
    transformers.utils.logging.set_verbosity_error()
    if not sys.stderr.isatty():
        transformers.utils.logging.disable_progress_bar()


def _progress(total: int, unit: str) -> Any:
    """A bar on stderr, for people only."""
    from tqdm import tqdm

    return tqdm(total=total, unit=unit, disable=None, leave=False, file=sys.stderr)


@contextlib.contextmanager
def _folder(keep: str | None) -> Iterator[str]:
    """A folder for the steps' files: a given one, or one that goes when they are done."""
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="attnbench-model-") as folder:
            yield folder
        return
    try:
        os.makedirs(keep, exist_ok=True)
    except OSError as error:
        raise ModelError(f"--keep {keep}: {error.strerror}; name a folder that can be made") from error
    yield keep


@contextlib.contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """A request to end leaves as Ctrl-C does: with temporary files removed."""
    def interrupt(*_: Any) -> NoReturn:
        raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGTERM, interrupt)
    except ValueError:  # not the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


if __name__ == "__main__":
    sys.exit(main())
