"""Made-up separators as TensorFlow serves them and as kzoo runs them: arithmetic written twice."""

import numpy as np
import tensorflow as tf

from export.serving_graph import ServedBlocks
from kzoo.dsp.blocks import BlockGrid
from kzoo.separation import System, at_level

RATE = 1000
HALVES = BlockGrid(samples=64, hop=48)


def ramped(block, where):
    """The block by its place in it, in two sources: so that every join shows."""
    ramp = np.linspace(0, 1, block.shape[1], dtype=np.float32)[:, None]
    return where.stack([block * ramp, block * (1 - ramp)], axis=1)


def served(grid=HALVES, channels=2, **options):
    """`ramped` as a preset of a server."""

    def step(block, states):
        return ramped(block, tf), states

    options = {"silence": {}, "step": step, "sources": ("vocals", "drums"), **options}
    return ServedBlocks(sample_rate=RATE, channels=channels, grid=grid, **options)


def system(grid=HALVES, channels=2, *, level_db=None, **options):
    """`ramped` as kzoo runs it."""
    options = {"function": lambda block: ramped(block, np), **options}
    made = System(
        sources=("vocals", "drums"), sample_rate=RATE, channels=channels, grid=grid, **options
    )
    return made if level_db is None else at_level(made, level_db)


def joined():
    """(ServedBlocks, System) of blocks that are joined as hybrid Demucs's are.

    They are `ramped` and not linear, so that every join and scale shows.
    """
    grid = BlockGrid(samples=64, hop=48, linear=True, centred=True)
    served_blocks = served(
        grid, step=lambda block, states: (ramped(tf.tanh(block), tf), states), standardised=True
    )
    own = system(grid, function=lambda block: ramped(np.tanh(block), np), standardised=True)
    return served_blocks, own
