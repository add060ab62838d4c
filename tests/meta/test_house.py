"""The house stands as docs/architecture.md draws it: imports point down, policy is pure, limits agree."""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from peer.limits import RELATIONS

ROOT = Path(__file__).parents[2]

FLOORS: tuple[tuple[float, str], ...] = (
    # First match wins. A module may import from lower floors and from its own.
    (0, r"peer\.(ids|errors|limits|bitfield|manifest|magnet|paths|units|buffers|config|published|placement)"),
    (0, r"peer\.(bucket|remarks)"),
    (1, r"peer\.wire(\..*)?"),
    (2, r"peer\.swarm(\..*)?"),
    (2, r"peer\.store\.(layout|verify|filesystem|records|ledger|resume)"),
    (2, r"peer\.control\.protocol|peer\.daemon\.(records|registry)"),
    (3, r"peer\.(workers|buggify|bell|streams|version|entry|start)"),
    (3.5, r"peer\.(identity|home|serials)"),
    (3.5, r"peer\.(store|net)(\..*)?"),
    (
        4,
        r"peer\.(alarm|finding|news|greeting|connection|link|intake|outflow|dialler|choking|holding|target|throttle|services|member|member_statistics|diagnosis|pacing|partings|trace|turnover|watching)",
    ),
    (4, r"peer\.discovery(\..*)?"),
    (5, r"peer\.(node|mirror)"),
    (5.5, r"peer\.(control|daemon)(\..*)?"),
    (6, r"peer\.cli(\..*)?|peer\.__main__"),
    (9, r"peer\.sim(\..*)?"),
    (-1, r"peer"),
)

PURE = re.compile(
    r"peer\.(ids|errors|limits|bitfield|manifest|magnet|paths|units|buffers|bucket|config|published|placement|remarks)"
    r"|peer\.control\.protocol|peer\.daemon\.(records|registry)"
    r"|peer\.wire(\..*)?|peer\.swarm(\..*)?|peer\.store\.(layout|verify|filesystem|records|ledger|resume)|peer\.net\.networks|tracker\.(registry|swarm|wheel|observed|catalogue|counting|words)"
    r"|lab\.large\.(agenda|fluid|rounds|transfer)"
)

IMPURE_IMPORTS = {
    "trio", "socket", "time", "os", "io", "logging", "threading", "subprocess", "select", "selectors",
    "asyncio", "ssl", "pathlib", "tempfile", "shutil", "secrets", "uuid", "datetime", "signal",
}  # fmt: skip

TRACKER_MAY_IMPORT = re.compile(
    r"peer|peer\.(ids|errors|limits|paths|units|buffers|bucket|magnet|manifest|bitfield|published|identity|home|workers|connection|streams|version|entry|start)"
    r"|peer\.(wire|net|store)(\..*)?"
)


def modules(package: str) -> Iterator[tuple[str, ast.Module]]:
    for path in sorted((ROOT / package).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        yield name, ast.parse(path.read_text(encoding="utf-8"), str(path))


def imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide the floor: write the whole name"
            assert node.module is not None
            yield node.module
            # `from peer import limits` names a module too
            yield from (f"{node.module}.{alias.name}" for alias in node.names if node.module == "peer")


def floor_of(module: str) -> float:
    for floor, pattern in FLOORS:
        if re.fullmatch(pattern, module):
            return floor
    pytest.fail(f"{module} stands on no floor: give it one in docs/architecture.md and in {__file__}")


ALL = [*modules("peer"), *modules("tracker"), *modules("lab")]


@pytest.mark.parametrize(("module", "tree"), ALL, ids=[name for name, _ in ALL])
def test_imports_point_down(module: str, tree: ast.Module) -> None:
    for name in imports(tree):
        top = name.partition(".")[0]
        if top not in {"peer", "tracker", "lab"}:
            continue
        if module.startswith("peer"):
            assert top == "peer", f"{module} imports {name}: a peer needs neither tracker nor lab"
            assert floor_of(name) <= floor_of(module), (
                f"{module} imports {name}, which is on a floor above it"
            )
        elif module.startswith("tracker"):
            assert top == "tracker" or TRACKER_MAY_IMPORT.fullmatch(name), (
                f"{module} imports {name}: the tracker stands on floors 0, 1 and 3 only"
            )


@pytest.mark.parametrize(
    ("module", "tree"),
    [(n, t) for n, t in ALL if PURE.fullmatch(n)],
    ids=[n for n, _ in ALL if PURE.fullmatch(n)],
)
def test_policy_is_pure(module: str, tree: ast.Module) -> None:
    for name in imports(tree):
        assert name.partition(".")[0] not in IMPURE_IMPORTS, f"{module} is pure and may not import {name}"
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "random":
            names = {alias.name for alias in node.names}
            assert names == {"Random"}, f"{module}: randomness is handed in as a Random"
        if isinstance(node, ast.Import):
            assert all(a.name != "random" for a in node.names), f"{module}: randomness is handed in"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in {"open", "print", "input", "Random"}, (
                f"{module}:{node.lineno} calls {node.func.id}(): pure code has no world of its own"
            )


@pytest.mark.parametrize(("holds", "why"), RELATIONS, ids=[why for _, why in RELATIONS])
def test_limits_agree(holds: bool, why: str) -> None:
    assert holds, why


def test_every_limit_has_its_reason() -> None:
    """Each constant of limits.py is followed by a sentence that says why."""
    tree = ast.parse((ROOT / "peer" / "limits.py").read_text(encoding="utf-8"))
    units = {"KIB", "MIB", "GIB", "PROTOCOL_VERSION"}
    for node, following in zip(tree.body, [*tree.body[1:], None], strict=True):
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
            continue
        if node.target.id in units | {"RELATIONS"}:
            continue
        is_text = isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
        assert is_text, f"peer/limits.py: {node.target.id} has no reason under it"


def test_functions_fit_on_a_screen() -> None:
    too_long = [
        f"{module}:{node.lineno} {node.name} has {length} lines"
        for module, tree in ALL
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (length := (node.end_lineno or node.lineno) - node.lineno + 1) > 70
    ]
    assert not too_long, "\n".join(too_long)


def test_files_hold_one_noun() -> None:
    """500 lines is where a file has become 'the object that owns everything'."""
    tables = {"peer/limits.py"}  # every limit in one place, by decision
    too_long = [
        f"{path.relative_to(ROOT)} has {lines} lines"
        for package in ("peer", "tracker", "lab")
        for path in sorted((ROOT / package).rglob("*.py"))
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > 500
        and str(path.relative_to(ROOT)) not in tables
    ]
    assert not too_long, "\n".join(too_long)


def test_the_simulation_is_not_imported_by_what_it_simulates() -> None:
    for module, tree in ALL:
        if module.startswith(("peer.sim", "lab")):
            continue
        assert not any(name.startswith("peer.sim") for name in imports(tree)), (
            f"{module} imports the simulation"
        )


def test_this_test_reads_something() -> None:
    assert len(ALL) > 10
    assert sys.version_info >= (3, 11)
