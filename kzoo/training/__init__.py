"""Training: a configuration, plain `compile` and `fit`, and a run folder that is a preset.

`train` (in `running`) does all of it. `settings` says what a configuration leaves out, `compiling`
makes a compiled model of it, `corpora` opens its data, `folder` lets one process at a time work in
a run folder; `strategies` shares the work among devices and the workers that `cluster` finds;
`start` takes weights from a preset; `optimizers` averages and slows down; `adversarial` is a GAN's
two networks as one model, `adversary` its section of a configuration; `forecast` tells beforehand
what a run will take, by the `graph_costs` of its network; `scores` separates and scores whole
tracks meanwhile; `callbacks` and `checkpoint` write down what a run needs to go on bit by bit.
"""

from kzoo.training.adversarial import AdversarialModel, AdversaryWatch
from kzoo.training.compiling import Compiled, compiled
from kzoo.training.running import train
from kzoo.training.scores import TrackScores
from kzoo.training.settings import Fit, Quick, resolved

__all__ = [
    "AdversarialModel",
    "AdversaryWatch",
    "Compiled",
    "Fit",
    "Quick",
    "TrackScores",
    "compiled",
    "resolved",
    "train",
]
