"""Made-up state dicts of Demucs, by PyTorch's names, and how many numbers such a dict holds."""

import numpy as np


def shapes(
    *, sources=4, channels=2, filters=64, depth=6, growth=2, kernel_size=8, context=3,
    glu=True, rewrite=True, upsample=False, lstm_layers=2,
):  # fmt: skip
    """{name: shape} of the reference's state dict."""
    found = {}

    def layer(name, *shape, outputs):
        found[f"{name}.weight"], found[f"{name}.bias"] = shape, (outputs,)

    scale, before, width = 2 if glu else 1, channels, filters
    for level in range(depth):
        at = f"decoder.{depth - 1 - level}"
        out = before if level else (filters if upsample else sources * channels)
        layer(f"encoder.{level}.0", width, before, kernel_size, outputs=width)
        if rewrite:
            layer(f"encoder.{level}.2", scale * width, width, 1, outputs=scale * width)
            layer(f"{at}.0", scale * width, width, context, outputs=scale * width)
        last = f"{at}.2" if rewrite else f"{at}.0"
        inner = (out, width) if upsample else (width, out)
        layer(last, *inner, kernel_size, outputs=out)
        before, width = width, int(growth * width)
    if upsample:
        outputs = sources * channels
        layer("final", outputs, filters + channels, 1, outputs=outputs)
    for number in range(lstm_layers):
        for way in ("", "_reverse"):
            inputs = 2 * before if number else before
            found[f"lstm.lstm.weight_ih_l{number}{way}"] = (4 * before, inputs)
            found[f"lstm.lstm.weight_hh_l{number}{way}"] = (4 * before, before)
            found[f"lstm.lstm.bias_ih_l{number}{way}"] = (4 * before,)
            found[f"lstm.lstm.bias_hh_l{number}{way}"] = (4 * before,)
    if lstm_layers:
        layer("lstm.linear", before, 2 * before, outputs=before)
    return found


def weights(seed=0, **options):
    """Arrays that keep the signal's size on its way through."""
    rng = np.random.default_rng(seed)
    return {
        name: (rng.uniform(-1, 1, shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)
        for name, shape in shapes(**options).items()
    }


def counts(**options):
    """(PyTorch's, Keras's): an LSTM has two biases there, one here."""
    sizes = {name: int(np.prod(shape)) for name, shape in shapes(**options).items()}
    return sum(sizes.values()), sum(n for name, n in sizes.items() if "bias_hh" not in name)
