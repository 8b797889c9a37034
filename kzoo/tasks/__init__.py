"""Tasks: what a model is for, and everything in training and shipping that depends on it.

A model's sizes name their task. Training asks it for the examples of a corpus, the pairs of `fit`
and the fields of the card, and never what kind of model it has before it. A new task is one class
in a file of this folder, one line in TASKS, and the name in its models' sizes:

    card(...)       the fields that a card of this task has
    corpus(...)     what a corpus is asked for, and `check`, whether it has it
    examples(...)   what is learned from, `windows(...)` what it is judged by
    pair(...)       (inputs, targets) of the graph that is trained
    scored(...)     the system that evaluation scores, where it can be scored
    prove(...)      the example that proves an export, where it is `exported`

`Task` in `base` has each of them with its docstring.
"""

from __future__ import annotations

from kzoo import config
from kzoo.tasks.base import Task
from kzoo.tasks.clustering import Clustering
from kzoo.tasks.generation import Generation
from kzoo.tasks.listening import Listening
from kzoo.tasks.pitch import Pitch
from kzoo.tasks.separation import Separation
from kzoo.tasks.synthesis import Synthesis
from kzoo.tasks.translation import Translation

TASKS: dict[str, type[Task]] = {
    "separation": Separation,
    "clustering": Clustering,
    "synthesis": Synthesis,
    "pitch": Pitch,
    "listening": Listening,
    "generation": Generation,
    "translation": Translation,
}

__all__ = [
    "TASKS",
    "Clustering",
    "Generation",
    "Listening",
    "Pitch",
    "Separation",
    "Synthesis",
    "Task",
    "Translation",
    "task",
]


def task(name: str) -> type[Task]:
    """The class of a task by its name; ConfigError for an unknown one."""
    return config.named(TASKS, name, "task")
