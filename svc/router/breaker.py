"""Whether an instance is fit for requests, as the router itself has seen: pure."""

import msgspec


class Fitness(msgspec.Struct, frozen=True):
    """Failures in a row; `well` is None until anything was seen."""

    failures: int = 0
    well: bool | None = None


def failed(before: Fitness, max_errors: int) -> Fitness:
    """A failed check, or an attempt that did not reach it: out after `max_errors` in a row."""
    failures = before.failures + 1
    return Fitness(failures, False if failures >= max_errors else before.well)


def checked(before: Fitness) -> Fitness:
    """A good check brings it back at once."""
    return Fitness(0, True)


def served(before: Fitness) -> Fitness:
    """An answer ends the row of failures, but only a check brings back what is out."""
    return Fitness(0, before.well) if before.failures and before.well is not False else before
