"""Methods that need no training; they use NumPy, SciPy, librosa and scikit-learn.

`separate` takes a waveform to its sources by one of `METHODS`, each a frozen dataclass of options
in a module of its own, beside the functions that it is made of. `masks` has the ideal masks.
"""

from kzoo.classical.base import Method
from kzoo.classical.methods import METHODS, method, method_of, separate

__all__ = ["METHODS", "Method", "method", "method_of", "separate"]
