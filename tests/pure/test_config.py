"""The configuration file: what it may say, and what it may not."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peer.config import BY_NAME, KEYS, parameters, parse
from peer.errors import UsageError

GOOD = """
port = 7702
host = "192.0.2.1"
up = "4mbit"
tracker = ["tracker.example:7700", "other.example"]
lan = false
log_level = "debug"
connections = 100
"""


def test_what_it_says_is_taken() -> None:
    values = parse(GOOD, "config.toml")
    assert values["port"] == 7702
    assert parameters(values)["trackers"] == ["tracker.example:7700", "other.example"]
    assert parameters(parse('tracker = "one.example"', "x"))["trackers"] == ["one.example"]
    assert parse("", "x") == {}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('upp = "1mbit"', ["'upp'", "did you mean up?"]),
        ("Port = 1", ["'Port'", "did you mean port?"]),
        ("log-json = true", ["log-json", "did you mean log_json?"]),
        ("[up]", ["up", "rate in quotes"]),
        ("xyzzy = 1", ["'xyzzy'", "the keys are", "tracker"]),
        ('port = "7701"', ["port", "'7701'", "number"]),
        ("port = 70000", ["port", "65535"]),
        ("port = true", ["port = true", "number"]),
        ("up = 5", ["up = 5", "quotes"]),
        ('up = "5"', ["up", "no unit"]),
        ('up = "5mbps"', ["5mbps"]),
        ("lan = 1", ["lan = 1", "true or false"]),
        ('tracker = ["a:b"]', ["tracker", "port"]),
        ("tracker = [7700]", ["tracker", "quotes"]),
        ('log_level = "loud"', ["log_level", "debug, info"]),
        ("connections = 1", ["connections", "at least"]),
        ("up = ", ["value"]),
        ('up = "1mbit"\nup = "2mbit"', ["value"]),
        ("port = " + "9" * 5000, ["5000 digits"]),
        ("tracker = " + "[" * 5000, ["recursion"]),
    ],
)
def test_a_mistake_is_one_line_that_names_it(text: str, words: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        parse(text, "/home/config.toml")
    line = str(caught.value)
    assert line.startswith("/home/config.toml: ")
    assert "\n" not in line
    for word in words:
        assert word in line


def test_keys_are_called_like_options() -> None:
    assert len(BY_NAME) == len(KEYS)
    assert BY_NAME["log_json"].variable == "MANYHANDS_LOG_JSON"


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        values = parse(text, "x")
    except UsageError:
        return
    assert values == tomllib.loads(text)


@given(
    st.sampled_from(sorted(BY_NAME)),
    st.sampled_from(["1", "-1", "1.5", "true", '""', '"x"', "[]", "[[1]]", "{a = 1}", "1979-05-27", "nan"]),
)
def test_any_value_is_taken_or_refused(name: str, value: str) -> None:
    told = name
    try:
        parse(f"{name} = {value}", "x")
    except UsageError as error:
        told = str(error)
    assert name in told
