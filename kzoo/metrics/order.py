"""Which estimate is which source, where nothing says: permutation-invariant scoring.

Yu, Kolbæk, Tan and Jensen, 2017, Permutation invariant training of deep models for
speaker-independent multi-talker speech separation, https://arxiv.org/abs/1607.00325
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from kzoo.metrics.energy import si_sdr

_BOUND_DB = 200.0  # of an exact or a silent estimate, so that sums stay finite


def pairwise(
    references: Sequence[np.ndarray],
    estimates: Sequence[np.ndarray],
    score: Callable[[np.ndarray, np.ndarray], float] = si_sdr,
) -> np.ndarray:
    """`score(reference, estimate)` of every pair, `[references, estimates]`."""
    return np.array([[score(true, guess) for guess in estimates] for true in references])


def best_order(scores: np.ndarray) -> np.ndarray:
    """For each reference, the index of the estimate that is taken for it, int `[references]`.

    scores: in dB, `[references, estimates]`, as `pairwise` gives them, with at least as many
    estimates as references. Of all assignments that with the highest mean is taken; infinite
    scores count as 200 dB, and NaN, as of silent references, as 0. Any number of sources is
    assigned in polynomial time. Raises ValueError for fewer estimates than references.
    """
    from scipy.optimize import linear_sum_assignment  # takes half a second, and few need it

    scores = np.asarray(scores, np.float64)
    if scores.ndim != 2 or scores.shape[0] > scores.shape[1]:
        raise ValueError(
            "scores must be [references, estimates], with an estimate for each reference; "
            f"got shape {scores.shape}"
        )
    finite = np.nan_to_num(scores, nan=0.0, posinf=_BOUND_DB, neginf=-_BOUND_DB)
    return linear_sum_assignment(np.clip(finite, -_BOUND_DB, _BOUND_DB), maximize=True)[1]
