"""Names and shapes of published files, as `tests/vectors/published_layouts.yaml` has them."""

import itertools
import re
from pathlib import Path

import made_scnet
import made_torch_files as torch_files
import numpy as np

from kzoo import config

LAYOUTS = Path(__file__).parents[1] / "vectors" / "published_layouts.yaml"
# Of Hybrid Demucs on magnitudes: half of what goes into it, and of what comes out.
MAGNITUDES = {
    "encoder.0.conv.weight": (48, 2, 8, 1),
    "decoder.5.conv_tr.weight": (48, 8, 8, 1),
    "decoder.5.conv_tr.bias": (8,),
}
ON_MAGNITUDES = ("mdx_extra_a1d90b5c", "mdx_extra_5d2d6c55")
# The layouts of cards, where they are not called alike.
ENDS = ("encoder", "decoder")
OF_CARD = {
    "umx": "umxhq",
    "demucs_v1_extra": "demucs_v1",
    "demucs_v1_light": "demucs_v2",
    "demucs_v1_light_extra": "demucs_v2",
    "demucs_v2_extra": "demucs_v2",
    **dict.fromkeys(["tasnet_v1", "tasnet_v1_extra", "tasnet_v2", "tasnet_v2_extra"], "tasnet"),
    "hdemucs_mmi": "hdemucs",
    **{f"mdx_extra_{part}": "hdemucs" for part in ("e51eebcc", "a1d90b5c", "5d2d6c55", "cfa93e08")},
    **{f"htdemucs_ft_{stem}": "htdemucs" for stem in ("drums", "bass", "other", "vocals")},
    "conv_tasnet_wham": "conv_tasnet_8khz",
    "conv_tasnet_libri2mix_8khz": "conv_tasnet_8khz",
    "conv_tasnet_libri2mix_16khz": "conv_tasnet_16khz",
}


def layout(card):
    """{name: shape} of the arrays in a file of the card, of one target where it has several."""
    if card in made_scnet.PUBLISHED:
        return made_scnet.shapes(**made_scnet.PUBLISHED[card])
    table = config.load_yaml(LAYOUTS)[OF_CARD.get(card, card)]["arrays"]
    found = {name: tuple(shape) for name, shape in _expanded(table)}
    return found | (MAGNITUDES if card in ON_MAGNITUDES else {})


def _expanded(table):
    """{0..2} in a name stands for 0, 1 and 2, {0,2} for 0 and 2."""
    for pattern, shape in table.items():
        texts = re.split(r"\{([^}]*)\}", pattern)
        runs = [_run(text) for text in texts[1::2]]
        for numbers in itertools.product(*runs):
            parts = itertools.zip_longest(texts[::2], map(str, numbers), fillvalue="")
            yield "".join(itertools.chain(*parts)), shape


def _run(text):
    first, dots, last = text.partition("..")
    return range(int(first), int(last) + 1) if dots else text.split(",")


def shapes_alone(card):
    """Arrays of the shapes that take no memory, by target where the card has some."""
    targets = [file.get("target") for file in card["weights"]["files"]]
    found = {
        f"{target}.{name}" if target else name: np.broadcast_to(np.float32(0), shape)
        for target in targets
        for name, shape in layout(card["name"]).items()
    }
    if card["name"] == "dcunet_libri1mix":  # its hop is in the numbers
        found |= {f"{part}.filterbank._filters": stft_filters(1024, 256) for part in ENDS}
    return found


def stft_filters(n_fft, hop_length):
    """The filters `[n_fft + 2, 1, n_fft]` of asteroid_filterbanks' STFTFB, as its file has them."""
    circle = np.fft.fft(np.eye(n_fft)) / (0.5 * np.sqrt(n_fft * n_fft / hop_length))
    rows = np.vstack([circle.real[: n_fft // 2 + 1], circle.imag[: n_fft // 2 + 1]])
    rows[[0, n_fft // 2, n_fft // 2 + 1, -1]] /= np.sqrt(2)
    window = np.sqrt(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft))
    return (rows * window)[:, None].astype(np.float32)


def arrays(card, rng):
    """Random arrays of one target's file."""
    found = {}
    for name, shape in layout(card).items():
        if name.endswith("num_batches_tracked"):
            found[name] = np.int64(7)
        elif name.endswith("running_var"):
            found[name] = 0.5 + rng.random(shape, np.float32)
        else:
            found[name] = 0.05 * rng.standard_normal(shape, np.float32)
    if card == "dcunet_libri1mix":
        found |= {f"{part}.filterbank._filters": stft_filters(1024, 256) for part in ENDS}
    return found


def state_dict(arrays):
    """The program of a pickle, and the storages, of a state dict with these arrays."""
    kinds = {"float32": "FloatStorage", "int64": "LongStorage", "float16": "HalfStorage"}
    arrays = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    program = torch_files.mapping({
        name: torch_files.tensor(
            name, kinds[array.dtype.name], array.size, array.shape,
            [stride // array.itemsize for stride in array.strides],
        )
        for name, array in arrays.items()
    })  # fmt: skip
    return program, arrays
