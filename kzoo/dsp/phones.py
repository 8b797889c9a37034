"""The names of phones, and of the states of a hidden Markov model that each goes through."""

from __future__ import annotations

from collections.abc import Sequence

# Of American English, those that the errors of TIMIT are counted of (Lee and Hon, 1989); "sil" is
# every silence and closure.
PHONES = (
    "aa", "ae", "ah", "aw", "ay", "b", "ch", "d", "dh", "dx", "eh", "er", "ey", "f", "g", "hh",
    "ih", "iy", "jh", "k", "l", "m", "n", "ng", "ow", "oy", "p", "r", "s", "sh", "sil", "t",
    "th", "uh", "uw", "v", "w", "y", "z",
)  # fmt: skip


def state_names(phones: Sequence[str], states: int) -> tuple[str, ...]:
    """What the states of phones are called: "aa.1", "aa.2"; of one state, as the phone."""
    if states == 1:
        return tuple(phones)
    return tuple(f"{phone}.{k + 1}" for phone in phones for k in range(states))


def phone_of(state: str) -> tuple[str, int]:
    """(phone, number of its state) of a name that `state_names` gave: "aa.2" is ("aa", 2)."""
    phone, _, number = state.partition(".")
    return phone, int(number or 1)
