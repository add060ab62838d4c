"""The command line: `python -m tests.fuzz --frames 1000000 --seed 7`."""

import argparse
import os
import sys
import time

from tests.fuzz.run import CALL_S_MAX, GROWTH_BYTES_MAX, Report, fuzz, save
from tests.fuzz.targets import TARGETS


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--frames", type=int, default=1_000_000, help="how many to read (default: a million)")
    parser.add_argument("--seed", type=int, default=None, help="run these inputs again (default: new ones)")
    parser.add_argument("--target", choices=TARGETS, action="append", help="only this one; may be repeated")
    parser.add_argument("--engine", choices=("grammar", "atheris"), default="grammar")
    parser.add_argument("--quiet", action="store_true", help="only the result")
    options = parser.parse_args()
    targets = tuple(options.target or TARGETS)
    if options.engine == "atheris":
        from tests.fuzz.coverage_guided import run_atheris

        return run_atheris(targets, options.frames, options.seed)
    seed = options.seed if options.seed is not None else int.from_bytes(os.urandom(4), "big")
    print(f"seed {seed}, {options.frames} frames, targets {' '.join(targets)}", flush=True)
    begun = time.monotonic()
    report = fuzz(
        options.frames, seed, targets, progress=(lambda r: None) if options.quiet else show_progress
    )
    show(report, time.monotonic() - begun)
    return 0 if report.good else 1


def show_progress(report: Report) -> None:
    print(f"  {report.frames} frames, {len(report.findings)} findings", file=sys.stderr, flush=True)


def show(report: Report, seconds: float) -> None:
    inputs = ", ".join(f"{name} {count}" for name, count in report.inputs.items() if count)
    endings = sum(len(endings) for endings in report.endings.values())
    print(f"{report.frames} frames in {seconds:.0f} s; inputs: {inputs}; {endings} different endings")
    print(f"exceptions outside the taxonomy: {len(report.findings)} (allowed: 0)")
    for finding in report.findings:
        print(f"  {finding.target}: {finding.what}\n    kept as {save(finding)}")
    where = f", in {report.slowest.target}" if report.slowest is not None else ""
    print(f"slowest call: {report.slowest_s * 1000:.1f} ms{where} (allowed: {CALL_S_MAX * 1000:.0f})")
    if report.slowest is not None and report.slowest_s > CALL_S_MAX:
        print(f"    kept as {save(report.slowest)}")
    grown = report.growth_bytes / 2**20
    print(f"memory growth from 10 % to 100 %: {grown:.1f} MiB (allowed: {GROWTH_BYTES_MAX / 2**20:.0f})")


if __name__ == "__main__":
    sys.exit(main())
