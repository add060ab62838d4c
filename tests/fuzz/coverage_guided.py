"""The same targets under atheris (libFuzzer), which looks for inputs that reach new lines. Optional.

`pip install atheris`, then `python -m tests.fuzz --engine atheris --target wire --frames 1000000`. One target
at a time; the corpus and some generated inputs are the seeds. libFuzzer tells what it does, and ends the
process.
"""

import sys
import tempfile
from pathlib import Path
from random import Random

from tests.fuzz.grammar import INPUTS
from tests.fuzz.run import Finding, corpus, load, save
from tests.fuzz.targets import TARGETS
from tests.fuzz.watch import Watch

SEEDS = 500


def run_atheris(targets: tuple[str, ...], runs: int, seed: int | None) -> int:
    """Does not return when it starts. 2 if it cannot."""
    try:
        import atheris  # type: ignore[import-untyped]
    except ImportError:
        print("atheris is not installed: pip install atheris", file=sys.stderr)
        return 2
    if len(targets) != 1:
        print("--engine atheris takes one --target", file=sys.stderr)
        return 2
    [target] = targets

    def test_one_input(data: bytes) -> None:
        try:
            TARGETS[target](data, Watch())
        except Exception as error:
            print(f"kept as {save(Finding(target, data, f'{type(error).__name__}: {error}'))}")
            raise

    with tempfile.TemporaryDirectory() as folder:
        rng = Random(seed or 0)
        inputs = [load(path)[1] for path in corpus() if load(path)[0] == target]
        for number, data in enumerate(inputs + [INPUTS[target](rng) for _ in range(SEEDS)]):
            (Path(folder) / str(number)).write_bytes(data)
        atheris.instrument_all()
        limits = (
            "-max_len=100000",
            "-timeout=10",
            f"-artifact_prefix={folder}/",
        )  # what counts, `save` keeps
        arguments = [sys.argv[0], folder, f"-runs={runs}", *limits]
        atheris.Setup(arguments if seed is None else [*arguments, f"-seed={seed}"], test_one_input)
        atheris.Fuzz()
    return 0
