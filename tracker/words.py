"""Which names have which words: an index for prefixes, small in memory. Pure.

A dictionary of sets would answer whole words only and cost 200 bytes a word. Here all words lie in order, so
that those with a common beginning lie side by side, and each maps to the numbers of the names that have it:
to the number itself while there is one (most words are rare), to an ascending list when there are several.
Numbers only grow, so a list is appended to and stays sorted. The words are kept in runs of some hundreds: in
one list of a million, each that comes or goes would move half of them.
"""

import re
from bisect import bisect_left, insort
from collections.abc import Iterator

from peer.limits import CATALOGUE_RUN_WORDS_MAX, CATALOGUE_WORDS_PER_NAME_MAX
from peer.paths import fold

_WORD = re.compile(r"[^\W_]+")


def words_of(name: str) -> tuple[str, ...]:
    """The words of a name or a question: runs of letters and digits, without case, each once, in order."""
    return tuple(dict.fromkeys(_WORD.findall(fold(name))))[:CATALOGUE_WORDS_PER_NAME_MAX]


class SortedWords:
    """Different words in order, in runs: run after run, each with its last word beside it."""

    def __init__(self) -> None:
        self._runs: list[list[str]] = []
        self._lasts: list[str] = []

    def __len__(self) -> int:
        return sum(map(len, self._runs))

    def add(self, word: str) -> None:
        """A word that is not there yet."""
        if not self._runs:
            self._runs.append([])
            self._lasts.append(word)
        at = min(bisect_left(self._lasts, word), len(self._runs) - 1)
        run = self._runs[at]
        insort(run, word)
        if len(run) > CATALOGUE_RUN_WORDS_MAX:
            half = len(run) // 2
            self._runs.insert(at + 1, run[half:])
            del run[half:]
            self._lasts.insert(at, run[-1])
            at += 1
        self._lasts[at] = self._runs[at][-1]

    def remove(self, word: str) -> None:
        """A word that is there."""
        at = bisect_left(self._lasts, word)
        run = self._runs[at]
        del run[bisect_left(run, word)]
        if run:
            self._lasts[at] = run[-1]
        else:
            del self._runs[at], self._lasts[at]

    def beginning(self, prefix: str) -> Iterator[str]:
        """All that begin so, in order."""
        for at in range(bisect_left(self._lasts, prefix), len(self._runs)):
            run = self._runs[at]
            for place in range(bisect_left(run, prefix), len(run)):
                if not run[place].startswith(prefix):
                    return
                yield run[place]

    def check_invariants(self) -> None:
        flat = list(self.beginning(""))
        assert flat == sorted(set(flat))
        assert self._lasts == [run[-1] for run in self._runs]
        assert all(0 < len(run) <= CATALOGUE_RUN_WORDS_MAX for run in self._runs)


class WordIndex:
    """Words to numbers. What is added must be added with the same words to be removed."""

    def __init__(self) -> None:
        self._sorted = SortedWords()
        self._numbers: dict[str, int | list[int]] = {}

    def __len__(self) -> int:
        return len(self._numbers)

    def add(self, number: int, words: tuple[str, ...]) -> None:
        """``number`` must be higher than every number before it."""
        for word in words:
            there = self._numbers.get(word)
            if there is None:
                self._sorted.add(word)
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
                self._sorted.remove(word)

    def count(self, prefix: str, enough: int, words_max: int) -> tuple[int, int]:
        """How many times a word that begins so stands in a name, and at how many words it looked for that.
        Counted no further than ``enough``; that is the answer, too, where it may not look at all of them.
        """
        count = looked = 0
        for word in self._sorted.beginning(prefix):
            if looked >= words_max:
                return enough, looked
            looked += 1
            there = self._numbers[word]
            count += 1 if isinstance(there, int) else len(there)
            if count >= enough:
                return enough, looked
        return count, looked

    def numbers(self, prefix: str) -> list[int]:
        """The numbers of all names with a word that begins so, ascending, each once."""
        found: set[int] = set()
        for word in self._sorted.beginning(prefix):
            there = self._numbers[word]
            if isinstance(there, int):
                found.add(there)
            else:
                found.update(there)
        return sorted(found)

    def check_invariants(self) -> None:
        self._sorted.check_invariants()
        assert set(self._sorted.beginning("")) == self._numbers.keys()
        for there in self._numbers.values():
            assert isinstance(there, int) or (len(there) > 1 and there == sorted(set(there)))
