"""WaveNet sample after sample in machine code by numba, voice by voice, for processors.

The network is that of `models.wavenet.Sampler.step`, on the same buffers: a test holds the two
together. One voice is products of vectors and matrices, which XLA's loops on a processor take many
times longer for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numba
import numpy as np

SOFTMAX, LOGISTICS, GAUSSIANS = range(3)
_KINDS = {"softmax": SOFTMAX, "logistics": LOGISTICS, "gaussians": GAUSSIANS}
_compiled = numba.njit(nogil=True, cache=True, fastmath=True)


class Network(NamedTuple):
    """Weights of all blocks together, each product's inputs before its outputs, float32."""

    first: np.ndarray  # [taps, levels or 1, residual]
    first_bias: np.ndarray
    gates: np.ndarray  # [blocks, taps * residual, 2 * gate]
    gates_bias: np.ndarray
    out: np.ndarray  # [blocks, gate, residual + skip]
    out_bias: np.ndarray
    output1: np.ndarray
    output1_bias: np.ndarray
    output2: np.ndarray
    output2_bias: np.ndarray
    dilations: np.ndarray
    first_skip: np.ndarray  # [residual, skip], or nothing
    first_skip_bias: np.ndarray
    scaled: bool
    kind: int  # SOFTMAX, LOGISTICS or GAUSSIANS


class Loop:
    """The loop over the samples of a model that `models.wavenet.build` made.

    Voices are shared among `threads`.
    """

    def __init__(self, model, size, *, threads: int = 1):
        self.size, self.threads = size, threads
        self._network = _network(model, size)

    @classmethod
    def of_translation(cls, model, size, domain: int) -> Loop:
        """The same of the decoder of a domain, in a model of `models.music_translation.build`."""
        loop = cls.__new__(cls)
        loop.size, loop.threads, loop._network = size, 1, _decoder(model, size, domain)
        return loop

    def __call__(
        self,
        heard: np.ndarray,
        state: Mapping[str, Any],
        at: int,
        noise: np.ndarray,
        conditions: np.ndarray | None,
        *,
        temperature: float = 1.0,
        top_k: int | None = None,
    ) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
        """(drawn `[batch, samples]`, entropies in bits, state) of `noise` `[samples, batch, 2]`.

        heard: `[batch, 1]`, the last sample before; or `[batch, samples]`, which are heard instead
        of what is drawn, and nothing is. Others as of `Sampler.step`.
        """
        batch, samples = heard.shape[0], len(noise) or heard.shape[1]
        names = [f"block{k}" for k in range(1, len(self.size.dilations) + 1)]
        buffers = np.concatenate([np.asarray(state[name]) for name in names], axis=1)
        first = np.array(state["first"][..., 0]) if "first" in state else np.zeros((batch, 0))
        first = np.ascontiguousarray(first, np.float32)
        if conditions is None:
            conditions = np.zeros((batch, 0, 0, 0), np.float32)
        # Of one memory layout, as each is another function to numba; so is what is read-only, as
        # TensorFlow's arrays are.
        noise = np.ascontiguousarray(noise.transpose(1, 0, 2), np.float32)
        heard = np.ascontiguousarray(heard, np.float32)
        conditions = np.array(conditions, np.float32, order="C")
        drawn, entropies = np.zeros((2, batch, samples), np.float32)
        top_k = self.size.levels if top_k is None else top_k

        def voice(k: int) -> None:
            _voice(
                self._network, heard[k], buffers[k], first[k], at, noise[k], conditions[k],
                float(temperature), int(top_k), drawn[k], entropies[k],
            )  # fmt: skip

        if self.threads > 1 and batch > 1:
            with ThreadPoolExecutor(self.threads) as pool:
                list(pool.map(voice, range(batch)))
        else:
            for k in range(batch):
                voice(k)
        ends = np.cumsum([state[name].shape[1] for name in names])[:-1]
        state = dict(zip(names, np.split(buffers, ends, axis=1), strict=True))
        return drawn, entropies, state | ({"first": first[..., None]} if first.size else {})


def _network(model, size) -> Network:
    def weights(layer, kernel_shape, bias_width):
        values = [np.asarray(x, np.float32) for x in layer.get_weights()]
        bias = values[1] if len(values) > 1 else np.zeros(bias_width, np.float32)
        return np.ascontiguousarray(values[0].reshape(kernel_shape)), bias

    first = model.get_layer("first")
    shape = (size.first_kernel, -1, size.residual)
    parts = [*weights(first, shape, size.residual)]
    blocks = [model.get_layer(f"block{k}") for k in range(1, len(size.dilations) + 1)]
    gates = [weights(x.gates, (-1, 2 * size.gate), 2 * size.gate) for x in blocks]
    residual = [weights(x.to_residual, (size.gate, -1), size.residual) for x in blocks]
    skip = [weights(x.to_skip, (size.gate, -1), size.skip) for x in blocks]
    parts += [np.stack([x[k] for x in gates]) for k in (0, 1)]
    for k in (0, 1):
        both = [np.concatenate([r[k], s[k]], axis=-1) for r, s in zip(residual, skip, strict=True)]
        parts.append(np.stack(both))
    for name in ("output1", "output2"):
        parts += weights(model.get_layer(name), (size.skip, -1), 0)
    parts += [np.array(size.dilations), np.zeros((0, size.skip), np.float32)]
    no_bias = np.zeros(size.skip, np.float32)
    return Network(*parts, no_bias, size.scaled, _KINDS[size.output])


def _decoder(model, size, domain: int) -> Network:
    def weights(layer):
        return [np.ascontiguousarray(x.numpy()[domain], np.float32) for x in layer.weights]

    kernel, bias = weights(model.get_layer("first"))
    # It hears a code as one number, of which a row for each code is the product.
    numbers = np.arange(size.levels, dtype=np.float32) / (size.levels - 1) - np.float32(0.5)
    parts = [numbers[None, :, None] * kernel[:, None], bias]
    blocks = [model.get_layer(f"block{k}") for k in range(1, len(size.dilations) + 1)]
    for names in (("gates",), ("to_residual", "to_skip")):
        each = [[weights(getattr(block, name)) for name in names] for block in blocks]
        for k in (0, 1):
            parts.append(np.stack([np.concatenate([x[k] for x in one], -1) for one in each]))
    for name in ("output1", "output2"):
        parts += weights(model.get_layer(name))
    parts += [np.array(size.dilations), *weights(model.get_layer("first_skip"))]
    return Network(*parts, False, SOFTMAX)


@_compiled
def _add_product(vector, kernel, out):
    """Out += vector @ kernel."""
    inputs, outputs = kernel.shape
    whole = inputs - inputs % 4
    for i in range(0, whole, 4):
        a, b, c, d = vector[i], vector[i + 1], vector[i + 2], vector[i + 3]
        w, x, y, z = kernel[i], kernel[i + 1], kernel[i + 2], kernel[i + 3]
        for j in range(outputs):
            out[j] += a * w[j] + b * x[j] + c * y[j] + d * z[j]
    for i in range(whole, inputs):
        for j in range(outputs):
            out[j] += vector[i] * kernel[i, j]


@_compiled
def _tanh(x):
    """As Eigen has it, and so TensorFlow: a quotient of polynomials, which vectors of lanes do."""
    x = max(np.float32(-7.90531110763549805), min(np.float32(7.90531110763549805), x))
    s = x * x
    above = np.float32(-2.76076847742355e-16)
    above = above * s + np.float32(2.00018790482477e-13)
    above = above * s + np.float32(-8.60467152213735e-11)
    above = above * s + np.float32(5.12229709037114e-08)
    above = above * s + np.float32(1.48572235717979e-05)
    above = above * s + np.float32(6.37261928875436e-04)
    above = above * s + np.float32(4.89352455891786e-03)
    below = np.float32(1.19825839466702e-06)
    below = below * s + np.float32(1.18534705686654e-04)
    below = below * s + np.float32(2.26843463243900e-03)
    below = below * s + np.float32(4.89352518554385e-03)
    return x * above / below


@_compiled
def _voice(net, heard, buffers, first, at, noise, conditions, temperature, top_k, drawn, entropies):
    taps, residual = net.gates.shape[1] // net.first.shape[2], net.first.shape[2]
    blocks, gate = len(net.dilations), net.out.shape[1]
    skip = net.out.shape[2] - residual
    half = np.float32(0.5)
    shrink = np.float32(math.sqrt(0.5)) if net.scaled else np.float32(1.0)
    spread = np.float32(math.sqrt(1.0 / blocks)) if net.scaled else np.float32(1.0)
    inside = np.empty(taps * residual, np.float32)
    gates, z = np.empty(2 * gate, np.float32), np.empty(gate, np.float32)
    out = np.empty(residual + skip, np.float32)
    x, skips = np.empty(residual, np.float32), np.empty(skip, np.float32)
    hidden = np.empty(net.output1.shape[1], np.float32)
    said = np.empty(net.output2.shape[1], np.float32)
    forced = len(noise) == 0
    past, room = heard[0], len(first)
    for n in range(len(drawn)):
        if forced:
            past = heard[n]
        now = at + n
        value = past + np.float32(1) if net.kind == SOFTMAX else past
        x[:] = net.first_bias
        for tap in range(room + 1):
            sample = value if tap == room else first[(now + tap) % room]
            if net.kind != SOFTMAX:
                for j in range(residual):
                    x[j] += sample * net.first[tap, 0, j]
            elif sample > 0:
                row = net.first[tap, int(sample) - 1]
                for j in range(residual):
                    x[j] += row[j]
        if room:
            first[now % room] = value
        skips[:] = net.first_skip_bias
        if len(net.first_skip):
            _add_product(x, net.first_skip, skips)
        begin = 0
        for block in range(blocks):
            dilation = net.dilations[block]
            reach = dilation * (taps - 1)
            for tap in range(taps - 1):
                place = begin + (now + tap * dilation) % reach
                inside[tap * residual : (tap + 1) * residual] = buffers[place]
            inside[(taps - 1) * residual :] = x
            buffers[begin + now % reach] = x
            begin += reach
            gates[:] = net.gates_bias[block]
            if len(conditions):
                here = conditions[n if len(conditions) > 1 else 0, block]
                for j in range(2 * gate):
                    gates[j] += here[j]
            _add_product(inside, net.gates[block], gates)
            for j in range(gate):
                z[j] = _tanh(gates[j]) * (half + half * _tanh(half * gates[gate + j]))
            out[:] = net.out_bias[block]
            _add_product(z, net.out[block], out)
            for j in range(residual):
                x[j] = (x[j] + out[j]) * shrink
            for j in range(skip):
                skips[j] += out[residual + j]
        if forced:
            continue
        for j in range(skip):
            skips[j] = max(skips[j] * spread, np.float32(0))
        hidden[:] = net.output1_bias
        if len(conditions) and conditions.shape[1] > blocks:
            here = conditions[n if len(conditions) > 1 else 0, blocks]
            for j in range(len(hidden)):
                hidden[j] += here[j]
        _add_product(skips, net.output1, hidden)
        for j in range(len(hidden)):
            hidden[j] = max(hidden[j], np.float32(0))
        said[:] = net.output2_bias
        _add_product(hidden, net.output2, said)
        if net.kind == SOFTMAX:
            code, entropies[n] = _code(said, noise[n, 0], temperature, top_k)
            past = np.float32(code)
        else:
            past, entropies[n] = _amplitude(said, noise[n], temperature, net.kind)
        drawn[n] = past


@_compiled
def _code(logits, noise, temperature, top_k):
    """(code, entropy in bits), as `generator.drawn_codes` has them."""
    highest, best = logits[0], 0
    for k in range(1, len(logits)):
        if logits[k] > highest:
            highest, best = logits[k], k
    total, moment = 0.0, 0.0
    for k in range(len(logits)):
        share = math.exp(logits[k] - highest)
        total += share
        moment += share * (logits[k] - highest)
    entropy = (math.log(total) - moment / total) / math.log(2.0)
    if temperature == 0:
        return best, entropy
    least = highest - np.float32(1e9)
    if top_k < len(logits):
        least = np.sort(logits)[len(logits) - top_k]
    total = 0.0
    for k in range(len(logits)):
        if logits[k] >= least:
            total += math.exp((logits[k] - highest) / temperature)
    below = 0.0
    code = best
    for k in range(len(logits)):
        if logits[k] >= least:
            below += math.exp((logits[k] - highest) / temperature)
            if below > noise * total:
                return k, entropy
            code = k
    return code, entropy


@_compiled
def _amplitude(parameters, noise, temperature, kind):
    """(amplitude, bits), as `generator.drawn_amplitudes` has them."""
    components = len(parameters) // 3
    highest = parameters[:components].max()
    total = 0.0
    for k in range(components):
        total += math.exp(parameters[k] - highest)
    below, chosen = 0.0, components - 1
    for k in range(components):
        below += math.exp(parameters[k] - highest)
        if below > noise[0] * total:
            chosen = k
            break
    mean, log_scale = parameters[components + chosen], parameters[2 * components + chosen]
    share = min(max(noise[1], 1e-5), 1 - 1e-5)
    where = math.log(share) - math.log1p(-share) if kind == LOGISTICS else _normal(share)
    one = mean + temperature * math.exp(log_scale) * where
    return np.float32(min(max(one, -1.0), 1.0)), (log_scale + 0.5) / math.log(2.0)


@_compiled
def _normal(share):
    """The quantile of a normal distribution, by Newton's steps on its integral."""
    x = 0.0
    for _ in range(60):
        density = math.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)
        step = (0.5 * math.erfc(-x / math.sqrt(2.0)) - share) / density
        x -= min(max(step, -0.5), 0.5)
        if abs(step) < 1e-12:
            break
    return x
