"""Give a separator that learned by SI-SDR, which hears neither level nor sign, both of them back.

    python configs/separation/level.py RUN OUT

RUN is a run folder of `kzoo train` whose configuration has `data.validation`, and whose model ends
in a linear `decoder` (conv_tasnet, tasnet). OUT is the same preset with its decoder multiplied by
the one gain that brings the estimates of the validation nearest to the sources, in the best order;
where the model has `source_gains`, those are multiplied, each by its own.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from kzoo import config, data, presets
from kzoo.losses import best_permutation, reorder


def main(run: str, out: str) -> None:
    """Measure the gain on the validation's mixtures, and write the preset."""
    values = config.load_yaml(Path(run) / "config.yaml")
    said = {"sources": values["model"]["sources"], **values["data"]["validation"]}
    corpus, model = data.open_corpus(**said), presets.from_preset(run)
    gains = [weight for weight in model.weights if weight.path.endswith("source_gains/gains")]
    axes = (0, 2, 3) if gains else None
    against = energy = 0.0
    for track, (_, samples) in enumerate(corpus.tracks):
        heard = corpus.read(track, 0, samples)
        sources, estimates = heard["sources"][None], model(heard["mixture"][None])
        _, order = best_permutation(sources, estimates, "si_sdr")
        estimates = np.asarray(estimates)
        sources = np.asarray(reorder(sources, np.argsort(order)))  # as the estimates are
        against = against + np.sum(sources * estimates, axis=axes)
        energy = energy + np.sum(estimates**2, axis=axes)
    gain = against / energy
    if gains:
        gains[0].assign(gains[0] * gain[:, None, None])
        what = f"the sources times {', '.join(f'{factor:.4f}' for factor in gain)}"
    else:
        (kernel,) = [weight for weight in model.weights if weight.path.endswith("decoder/kernel")]
        kernel.assign(kernel * gain)
        what = f"the decoder times {gain:.4f}"
    card = config.load_yaml(Path(run) / "card.yaml")
    del card["weights"]
    card["trained"]["then"] = f"{what}, by configs/separation/level.py"
    print(presets.save_to_preset(model, out, card), what)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python configs/separation/level.py RUN OUT")
    main(*sys.argv[1:])
