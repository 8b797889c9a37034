"""Made-up state dicts of SCNet, by the names and shapes of its authors' classes in PyTorch."""

import numpy as np

PAPER = {"dims": (4, 32, 64, 128), "kernels": (3, 4, 16), "depths": (3, 2, 1), "paths": 6}
LARGE = {**PAPER, "dims": (4, 64, 128, 256)}
# By their cards. XL: as the configuration of ZFTurbo's release 1.0.15 is quoted in
# https://github.com/openmirlab/scnet-infer, src/scnet_infer/config/checkpoints.toml.
PUBLISHED = {
    "scnet": PAPER,
    "scnet_large": LARGE,
    "scnet_xl": {**LARGE, "kernels": (3, 4, 4), "depths": (3, 3, 3), "paths": 8},
}


def shapes(*, dims, kernels, depths, paths, sources=4, compress=4, conv_kernel=3, expand=1):
    """{name: shape}, as https://github.com/starrytong/SCNet, scnet/SCNet.py, makes them."""
    found = {}

    def layer(name, *shape, outputs):
        found[f"{name}.weight"], found[f"{name}.bias"] = shape, (outputs,)

    blocks = len(dims) - 1
    for block in range(blocks):
        narrow, width = dims[block], dims[block + 1]
        out = narrow if block else narrow * sources
        hidden = width // compress
        for band, (kernel, depth) in enumerate(zip(kernels, depths, strict=True)):
            at = f"encoder.{block}.SDlayer.convs.{band}"
            layer(at, width, narrow, kernel, 1, outputs=width)
            for number in range(depth):
                at = f"encoder.{block}.conv_modules.{band}.layers.{number}"
                layer(f"{at}.0", width, outputs=width)
                layer(f"{at}.1", 2 * hidden, width, conv_kernel, outputs=2 * hidden)
                layer(f"{at}.3", hidden, 1, conv_kernel, outputs=hidden)
                layer(f"{at}.4", hidden, outputs=hidden)
                layer(f"{at}.6", width, hidden, 1, outputs=width)
            at = f"decoder.{blocks - 1 - block}.1.convtrs.{band}"
            layer(at, width, out, kernel, 1, outputs=out)
        layer(f"encoder.{block}.globalconv", width, width, 3, 3, outputs=width)
        at = f"decoder.{blocks - 1 - block}.0.conv"
        layer(at, 2 * width, 2 * width, 3, 3, outputs=2 * width)
    for path in range(paths):
        width = dims[-1] * (1 + path % 2)
        hidden = expand * width
        at = f"separation_net.dp_modules.{path}"
        for part in (0, 1):
            for way in ("", "_reverse"):
                lstm = f"{at}.lstm_layers.{part}"
                found[f"{lstm}.weight_ih_l0{way}"] = (4 * hidden, width)
                found[f"{lstm}.weight_hh_l0{way}"] = (4 * hidden, hidden)
                found[f"{lstm}.bias_ih_l0{way}"] = (4 * hidden,)
                found[f"{lstm}.bias_hh_l0{way}"] = (4 * hidden,)
            layer(f"{at}.linear_layers.{part}", width, 2 * hidden, outputs=width)
            layer(f"{at}.norm_layers.{part}", width, outputs=width)
    return found


def weights(**sizes):
    """{name: array} of random numbers."""
    rng = np.random.default_rng(0)
    return {
        name: (0.3 * rng.standard_normal(shape)).astype(np.float32)
        for name, shape in shapes(**sizes).items()
    }


def second_biases(found):
    """How many of these numbers are the biases that Keras's LSTMs do not have."""
    return sum(int(np.prod(shape)) for name, shape in found.items() if ".bias_hh_" in name)
