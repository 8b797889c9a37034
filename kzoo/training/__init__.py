"""Training: a configuration, plain `compile` and `fit`, and a run folder that is a preset.

`train` (in `running`) does all of it. `graph` makes the graph that is trained of the system that
ships; `start` takes weights from a preset; `optimizers` averages and slows down; `callbacks` and
`checkpoint` write down what a run needs to go on bit by bit.
"""

from kzoo.training.running import Fit, train

__all__ = ["Fit", "train"]
