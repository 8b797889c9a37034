"""The recorded SampleRNN of `samplernn_3tier`, its weights put into ours."""

import numpy as np

from kzoo.models.sample_rnn import SampleRNN

RECORDED = SampleRNN(frames=(2, 6), width=6, rnn_layers=2, levels=64, embedding=64)


def of_reference(model, vector):
    """The weights of the PyTorch package; its gates are r, z, n, ours z, r, n."""
    get = {name[len("param/") :]: vector[name] for name in vector if name.startswith("param/")}

    def gates(array):
        r, z, n = np.split(array, 3)
        return np.concatenate([z, r, n])

    for number in (1, 2):
        tier, own = model.get_layer(f"tier{number}"), f"frame_level_rnns.{number - 1}."
        v, g = (get[own + f"input_expand.weight_{x}"] for x in "vg")
        tier.expand.set_weights([v[..., 0].T, g[..., 0].T, get[own + "input_expand.bias"]])
        for k, rnn in enumerate(tier.rnns):
            kernels = [gates(get[own + f"rnn.weight_{x}_l{k}"]).T for x in ("ih", "hh")]
            biases = [gates(get[own + f"rnn.bias_{x}_l{k}"]) for x in ("ih", "hh")]
            rnn.set_weights([*kernels, np.stack(biases)])
            tier.initial[k].assign(get[own + "h0"][k])
        v, g = (get[own + f"upsampling.conv_t.weight_{x}"] for x in "vg")
        kernel = v.transpose(0, 2, 1).reshape(len(v), -1)  # each place's vector after another
        bias = get[own + "upsampling.bias"].T.reshape(-1)
        tier.upsampling.set_weights([kernel, g[:, 0], bias])
    samples, own = model.get_layer("samples"), "sample_level_mlp."
    samples.vectors.set_weights([get[own + "embedding.weight"]])
    for layer, name in (
        (samples.heard, "input"),
        (samples.hidden, "hidden"),
        (samples.logits, "output"),
    ):
        v, g = (get[own + f"{name}.weight_{x}"] for x in "vg")
        bias = [get[own + f"{name}.bias"]] if layer.use_bias else []
        layer.set_weights([v.transpose(2, 1, 0).reshape(-1, len(v)), g[..., 0].T, *bias])
