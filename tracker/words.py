"""Which names have which words: an index for prefixes, small in memory. Pure.

A dictionary of sets would answer whole words only and cost 200 bytes a word. Here all words lie in one sorted
list, so that those with a common beginning lie side by side, and each maps to the numbers of the names that
have it: to the number itself while there is one (most words are rare), to an ascending list when there are
several. Numbers only grow, so a list is appended to and stays sorted.
"""

import re
from bisect import bisect_left, insort

from peer.limits import CATALOGUE_WORDS_PER_NAME_MAX
from peer.paths import fold

_WORD = re.compile(r"[^\W_]+")

_LAST = "\U0010ffff"
"""No word has it, so what begins with a text lies between the text and the text with this behind it."""


def words_of(name: str) -> tuple[str, ...]:
    """The words of a name or a question: runs of letters and digits, without case, each once, in order."""
    return tuple(dict.fromkeys(_WORD.findall(fold(name))))[:CATALOGUE_WORDS_PER_NAME_MAX]


class WordIndex:
    """Words to numbers. What is added must be added with the same words to be removed."""

    def __init__(self) -> None:
        self._sorted: list[str] = []
        self._numbers: dict[str, int | list[int]] = {}

    def __len__(self) -> int:
        return len(self._sorted)

    def add(self, number: int, words: tuple[str, ...]) -> None:
        """``number`` must be higher than every number before it."""
        for word in words:
            there = self._numbers.get(word)
            if there is None:
                insort(self._sorted, word)
                self._numbers[word] = number
            elif isinstance(there, int):
                self._numbers[word] = [there, number]
            else:
                there.append(number)

    def remove(self, number: int, words: tuple[str, ...]) -> None:
        """The name of that number is gone."""
        for word in words:
            there = self._numbers[word]
            if isinstance(there, list):
                del there[bisect_left(there, number)]
                if len(there) == 1:
                    self._numbers[word] = there[0]
            else:
                del self._numbers[word]
                del self._sorted[bisect_left(self._sorted, word)]

    def count(self, prefix: str, enough: int) -> int:
        """How many times a word that begins so stands in a name; counted no further than ``enough``."""
        first = bisect_left(self._sorted, prefix)
        count = 0
        while count < enough and first < len(self._sorted) and self._sorted[first].startswith(prefix):
            there = self._numbers[self._sorted[first]]
            count += 1 if isinstance(there, int) else len(there)
            first += 1
        return count

    def numbers(self, prefix: str) -> list[int]:
        """The numbers of all names with a word that begins so, ascending, each once."""
        found: set[int] = set()
        begin, end = bisect_left(self._sorted, prefix), bisect_left(self._sorted, prefix + _LAST)
        for word in self._sorted[begin:end]:
            there = self._numbers[word]
            if isinstance(there, int):
                found.add(there)
            else:
                found.update(there)
        return sorted(found)

    def check_invariants(self) -> None:
        assert self._sorted == sorted(self._numbers)
        for there in self._numbers.values():
            assert isinstance(there, int) or (len(there) > 1 and there == sorted(set(there)))
