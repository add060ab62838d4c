"""`lab animate` in a real headless browser: time is moved, and what is drawn is looked at."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.cli import run
from tests.browser import Browser, Page, find_browser
from tests.sketches import sketched

SCENARIO = """
title = "Four peers, one of them twice"
[share]
size = "512KiB"
[origin]
up = "4mbit"
[[peers]]
count = 3
up = "800kbit"
[[peers]]
count = 1
up = "800kbit"
crashes_at = "1s"
returns_at = "1500ms"
"""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simulated swarm with its report, its traces, and an animation made of them."""
    folder: Path = tmp_path_factory.mktemp("swarm")
    (folder / "scenario.toml").write_text(SCENARIO)
    arguments = [str(folder / "scenario.toml"), "--out", str(folder), "--trace", str(folder / "traces")]
    with sketched():
        assert run(["simulate", *arguments]) == 0
    assert run(["animate", str(folder / "traces"), "--out", str(folder / "own.html"), "--title", "Ours"]) == 0
    return folder


def test_a_simulation_leaves_traces_and_an_animation(report: Path) -> None:
    names = {path.name for path in (report / "traces").iterdir()}
    assert names == {"origin.jsonl", "peer-1-1.jsonl", "peer-1-2.jsonl", "peer-1-3.jsonl", "peer-2-1.jsonl"}
    begun = [json.loads(line) for line in (report / "traces" / "peer-2-1.jsonl").read_text().splitlines()]
    assert sum(event["event"] == "begin" for event in begun) == 2, "it came back"
    assert 'href="swarm.html"' in (report / "report.html").read_text()
    assert "Four peers, one of them twice, seed 1" in (report / "swarm.html").read_text()


needs_browser = pytest.mark.skipif(
    find_browser() is None, reason="no headless browser: install chromium, or name one in MANYHANDS_BROWSER"
)


@pytest.fixture
def page(report: Path) -> Iterator[Page]:
    with Browser() as browser:
        yield browser.open((report / "own.html").as_uri())


def count_of(page: Page, colour: str) -> int:
    """Pixels of a colour of the page's own, in the piece map of the second peer."""
    return int(
        page.evaluate(f"""(() => {{
            const hex = getComputedStyle(document.documentElement).getPropertyValue("--{colour}").trim();
            const want = [1, 3, 5].map((k) => parseInt(hex.slice(k, k + 2), 16));
            const canvas = document.querySelectorAll(".row:not(.heading) canvas")[2];
            const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
            let found = 0;
            for (let k = 0; k < data.length; k += 4)
                if (want.every((value, c) => Math.abs(value - data[k + c]) < 3)) found += 1;
            return found;
        }})()""")
    )


def said(page: Page) -> str:
    return str(page.evaluate("document.getElementById('now').textContent"))


def have(page: Page) -> int:
    return int(page.evaluate("document.body.dataset.have"))


@needs_browser
@pytest.mark.slow
def test_time_is_moved_and_pieces_are_drawn(page: Page) -> None:
    assert page.evaluate("document.title") == "Ours"
    assert page.evaluate("document.body.dataset.playing") == "false", "less motion was asked for"
    assert have(page) == 0
    assert count_of(page, "empty") > 1000
    assert count_of(page, "origin") == count_of(page, "peer") == 0

    for _ in range(5):
        page.press("ArrowRight", shift=True)
    half = have(page)
    assert 0 < half < 4 * 32
    assert count_of(page, "origin") > 0
    assert count_of(page, "peer") > 0

    page.press("End")
    assert have(page) == 4 * 32
    assert "100 % of all pieces are there, 4 of 4 peers are complete" in said(page)
    assert count_of(page, "empty") < 300, "gaps between the cells at most"

    page.press("Home")
    assert have(page) == 0, "time runs backwards, too"
    assert count_of(page, "origin") == 0
    page.evaluate("document.getElementById('scrub').value = 500; "
                  "document.getElementById('scrub').dispatchEvent(new Event('input'))")  # fmt: skip
    assert have(page) == half, "the same moment is the same picture"
    assert page.complaints() == []


@needs_browser
@pytest.mark.slow
def test_it_plays_pauses_and_chooses_by_keyboard_alone(page: Page) -> None:
    page.press("+")
    page.press("+")
    page.press(" ")
    assert page.evaluate("document.getElementById('play').textContent") == "Pause"
    page.wait_until("Number(document.body.dataset.have) > 0")
    page.press(" ")
    assert page.evaluate("document.body.dataset.playing") == "false"
    page.evaluate("document.querySelectorAll('.row button')[1].focus()")
    page.press("Enter")
    assert page.evaluate("document.querySelectorAll('[aria-pressed=true]').length") == 1
    page.press("Escape")
    assert page.evaluate("document.querySelectorAll('[aria-pressed=true]').length") == 0
    assert page.complaints() == []


@needs_browser
@pytest.mark.slow
def test_light_and_dark(report: Path) -> None:
    grounds = set()
    for dark in (False, True):
        with Browser(dark=dark) as browser:
            page = browser.open((report / "swarm.html").as_uri() + "#t=1")
            assert page.evaluate("document.body.dataset.time") == "1", "an address may name a moment"
            grounds.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
            assert page.complaints() == []
    assert len(grounds) == 2


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        ([], 2),
        (["nowhere.jsonl"], 2),
        ([__file__], 2),
        (["/dev/null"], 2),
        (["TRACES", "--out", "/dev/null/x.html"], 5),
        (["EMPTY"], 2),
    ],
)
def test_trouble_is_one_line(
    arguments: list[str], status: int, report: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = {"TRACES": str(report / "traces"), "EMPTY": str(tmp_path)}
    assert run(["animate", *(names.get(argument, argument) for argument in arguments)]) == status
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1
