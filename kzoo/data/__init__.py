"""Corpora: sound to train with, each example a pure function of a seed and a number.

    corpus = data.open_corpus("stems", "music", sources=["vocals", "accompaniment"])
    examples = data.Examples(corpus, samples=65536, seed=0, steps=[data.step("remix")])
    examples.example(17)      # {"mixture": [samples, channels], "sources": [sources, ...]}
    data.dataset(examples, batch_size=4, start=1000)      # tf.data, from batch 1000 on

`corpora` opens what people have, `synthetic` makes sound up, `shards` prepares it once; `steps`
vary an example, `examples` draw them, `conditions` say what is asked for, `pipeline` feeds them to
Keras. NumPy throughout: TensorFlow and Keras are imported by `pipeline` alone, when it is used.
"""

from kzoo.data import annotated
from kzoo.data.conditions import Conditioned, ConditionedWindows
from kzoo.data.corpora import KINDS, open_corpus, open_readable
from kzoo.data.corpus import Corpus
from kzoo.data.examples import Examples, Windows
from kzoo.data.lanes import Lanes, LaneWindows
from kzoo.data.pipeline import ReadErrors, batch, dataset
from kzoo.data.shards import prepare
from kzoo.data.steps import STEPS, step

__all__ = [
    "KINDS",
    "STEPS",
    "Conditioned",
    "ConditionedWindows",
    "Corpus",
    "Examples",
    "LaneWindows",
    "Lanes",
    "ReadErrors",
    "Windows",
    "annotated",
    "batch",
    "dataset",
    "open_corpus",
    "open_readable",
    "prepare",
    "step",
]
