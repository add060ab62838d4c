"""What `Upload` counts."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LinkStatistics:
    """sent_bytes: chunks handed out. rate: what the socket takes, bytes a second. answers: finished ones."""

    waiting: int
    choked: bool
    sent_bytes: int
    rate: float
    answers: int


@dataclass(frozen=True, slots=True)
class UploadStatistics:
    """first_copies: pieces that this node has sent for the first time. repeats: sent again, to anybody.

    cut_bytes: sent for answers that were cancelled midway. unsent: pieces that were never sent whole.
    uplink_full: whether all links together move about as much as they ever did of late. hints: requests that
    were rejected with ELSEWHERE. answers: finished ones; ran_dry: those after which their link had asked for
    nothing more.
    """

    sent_bytes: int
    rate: float
    uplink_full: bool
    first_copies: int
    repeats: int
    cut_bytes: int
    unsent: int
    deferrals: int
    hints: int
    answers: int
    ran_dry: int
