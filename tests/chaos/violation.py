"""What a run has proved wrong."""


class Violation(AssertionError):  # noqa: N818 - what the literature calls it
    """An invariant does not hold. kind: one word, the same for the same trouble in another plan."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(f"{kind}: {text}")
        self.kind = kind


def demand(holds: bool, kind: str, text: str) -> None:
    """Raise a Violation if it does not hold."""
    if not holds:
        raise Violation(kind, text)


def first_of(error: BaseException) -> BaseException:
    """The first error in a group of groups: trio's nurseries wrap what comes out of them. A Violation before
    what went wrong on the way out because of it."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    before = error if error.__context__ is None else first_of(error.__context__)
    return before if isinstance(before, Violation) and not isinstance(error, Violation) else error
