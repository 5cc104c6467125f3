"""Threads, fork, Ctrl-C and the end of the process."""

import os
import signal
import subprocess
import sys
import textwrap
import threading

import numpy as np

import attnbench
from test_numpy import draw


def run(program, *, timeout=60, **options):
    """Runs a program of its own; returns what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True,
        timeout=timeout, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_threads_compute_side_by_side():
    cases = [draw(seed) for seed in range(8)]
    expected = [attnbench.attention(*case, causal=True) for case in cases]
    plan = attnbench.Plan(
        batch=2, heads=6, kv_heads=2, query_length=9, key_length=13, head_dim=5, value_dim=7,
        causal=True)
    wrong = []

    def work(index):
        for _ in range(100):
            for result in (attnbench.attention(*cases[index], causal=True), plan.run(*cases[index])):
                if not (result == expected[index]).all():
                    wrong.append(index)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_child_makes_its_own_team():
    assert run("""
        import os, sys, numpy as np, attnbench
        x = np.ones((1, 2, 40, 8), np.float32)
        plan = attnbench.Plan(heads=2, query_length=40, head_dim=8, threads=2)
        before = attnbench.attention(x, x, x, threads=2)
        plan.run(x, x, x)
        sys.stdout.flush()
        if os.fork() == 0:
            try:
                plan.run(x, x, x)
            except attnbench.AttentionError as error:
                assert error.status == 9, error
                print("child:", error)
            del plan
            assert (attnbench.attention(x, x, x, threads=2) == before).all()
            print("computed")
            sys.stdout.flush()
            os._exit(0)
        assert os.wait()[1] == 0
        assert (plan.run(x, x, x) == before).all()
        """).splitlines() == [
        "child: plan: made before a fork, by the parent process, whose threads this one has not; make "
        "another in this process", "computed"]


def test_multiprocessing_with_fork():
    assert run("""
        import multiprocessing, numpy as np, attnbench
        def work(n):
            x = np.ones((1, 2, n, 8), np.float32)
            return float(attnbench.attention(x, x, x).sum())
        work(10)
        with multiprocessing.get_context("fork").Pool(2) as pool:
            print(pool.map(work, [10, 20, 30]))
        """) == "[160.0, 320.0, 480.0]\n"


def test_control_c_ends_a_computation():
    program = """
        import numpy as np, attnbench
        x = np.ones((1, 2, 2000, 64), np.float32)
        try:
            print("started", flush=True)
            while True:
                attnbench.attention(x, x, x)
        except KeyboardInterrupt:
            pass
        assert np.isfinite(attnbench.attention(x, x, x)).all()
        print("went on", flush=True)
        """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "started\n"
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60)[0] == "went on\n"
    assert process.returncode == 0


def test_the_end_of_a_thread_and_of_the_process():
    assert run("""
        import threading, numpy as np, attnbench
        x = np.ones((1, 2, 40, 8), np.float32)
        kept = []
        def work():
            attnbench.attention(x, x, x)
            kept.append(attnbench.Plan(heads=2, query_length=40, head_dim=8))
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        kept[0].run(x, x, x)
        print("done")
        """) == "done\n"


def test_nothing_is_imported_that_is_not_used():
    assert run("""
        import sys, attnbench
        print([name for name in ("torch", "transformers", "ml_dtypes") if name in sys.modules])
        """) == "[]\n"


def test_memory_of_many_problems_is_given_back():
    x = np.ones((1, 4, 64, 16), np.float32)
    for n in range(1, 65):
        attnbench.attention(x[:, :, :n], x[:, :, :n], x[:, :, :n])
    before = resident()
    for _ in range(20):
        for n in range(1, 65):
            attnbench.attention(x[:, :, :n], x[:, :, :n], x[:, :, :n], "full")
            attnbench.attention(x[:, :, :n], x[:, :, :n], x[:, :, :n], mask=np.ones((n, n), bool))
    assert resident() - before < 64 << 20


def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
