"""What a measurement that was killed has left behind is removed by the next, and nothing else."""

from benchmarks.namespaces import of_ours


def test_what_a_killed_run_left_is_found_and_others_are_not() -> None:
    listed = "mh30 (id: 3)\nmh0\nmhbr\nmhtr (id: 1)\nmhlan00c0ffeea\nmh\nbuild\nold-mh1\nmh1x\n\n"
    assert of_ours(listed) == ["mh30", "mh0", "mhbr", "mhtr"]


def test_where_there_are_none() -> None:
    assert of_ours("") == []
