"""Model architectures, one a file; the file's name is the model's name.

Each file offers `build(sources, ...) -> keras.Model` (waveform in, waveforms out), `core(...)` (the
reference's network on the reference's own domain), VARIANTS (sizes), and, where long signals can
be cut, `block_grid(...)`.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from types import ModuleType


def list_models() -> list[str]:
    """Names of all architectures, for `architecture`."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))


def architecture(name: str) -> ModuleType:
    """The module of one architecture; ValueError with the nearest name for an unknown one."""
    known = list_models()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(known)}"
        raise ValueError(f"no model is called {name!r}; {hint}")
    return importlib.import_module(f"{__name__}.{name}")
