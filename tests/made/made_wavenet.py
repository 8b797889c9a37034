"""Weights of WaveNet's references in ours."""

import numpy as np


def flat(kernel):
    return kernel.reshape(-1, kernel.shape[-1])


def of_ibab(model, vector):
    """The weights of ibab's graph, of which each gate has two convolutions."""
    get = {name[len("param/") :]: vector[name] for name in vector if "param/" in name}
    model.get_layer("first").set_weights([get["causal_layer/filter"]])
    for number in range(1, 9):
        block, own = model.get_layer(f"block{number}"), f"dilated_stack/layer{number - 1}/"
        kernels = [flat(get[own + name]) for name in ("filter", "gate")]
        biases = [get[own + name] for name in ("filter_bias", "gate_bias")]
        block.gates.set_weights([np.hstack(kernels), np.hstack(biases)])
        block.to_residual.set_weights([flat(get[own + "dense"]), get[own + "dense_bias"]])
        block.to_skip.set_weights([flat(get[own + "skip"]), get[own + "skip_bias"]])
        if "embeddings/gc_embedding" in get:
            known = [flat(get[own + f"gc_{name}weights"]) for name in ("filt", "gate")]
            model.get_layer(f"block{number}_speaker").set_weights([np.hstack(known)])
    for k in (1, 2):
        name = f"postprocessing/postprocess{k}"
        model.get_layer(f"output{k}").set_weights([flat(get[name]), get[f"{name}_bias"]])
    if "embeddings/gc_embedding" in get:
        model.get_layer("speakers").set_weights([get["embeddings/gc_embedding"]])
