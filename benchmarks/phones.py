"""Phones of a corpus of TIMIT's layout, by Gaussian mixtures and by runs of dnn_hmm, tdnn and cdbn.

    python -m benchmarks.phones CORPUS RUNS [-o FILE] [--picture FILE]

CORPUS is what `configs/listening/phones.py` writes. RUNS holds dnn_hmm_phones, dnn_hmm_fresh (the
same without the section `pretraining`), tdnn_frames_phones, tdnn_phones and cdbn_phones, trained by
the configurations of these names.

Phones that follow each other: the Gaussian mixtures, one a state, are scikit-learn's, on 13 MFCC
with two derivatives. Their chain of states is measured by the layer that dnn_hmm has, and all
systems have the same frames, the same decoder and the same 39 phones. How much what is heard weighs
against the chain is chosen for each system on the voices that its training was validated by.

Phones one by one: what a run says of the window around each phone of the test, beside a logistic
regression of scikit-learn on the MFCC of the same window.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.training import machine
from kzoo import metrics, presets
from kzoo.data import open_corpus
from kzoo.data.events import Events
from kzoo.data.timit import PhoneWindows, read_phones, sentences
from kzoo.dsp.mel import mfcc
from kzoo.dsp.phones import PHONES, state_names
from kzoo.files import replacing
from kzoo.layers.state_chain import StateChain
from kzoo.listening import FrameListener
from kzoo.listening.phones import phones
from kzoo.listening.viterbi import Viterbi
from kzoo.pictures.images import figure

HELD_OUT = ("dr1/fbelinda/*", "dr1/mm8/*")  # voices that no run learned from
VALIDATION = ("dr1/fbelinda/si1*", "dr1/mm8/si1*")
STATES, RATE, HOP, N_FFT, COEFFICIENTS, MIXTURES = 3, 16000, 160, 400, 13, 8
WEIGHTS = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0)
FAINTEST = 1e-10
SHOWN = 20  # filters of each layer


class System(NamedTuple):
    """What tells of frames, and the chain of what it tells.

    scores: samples to log-likelihoods `[frames, names]`, up to a constant of each frame.
    """

    scores: Callable[[np.ndarray], np.ndarray]
    prior: np.ndarray
    transitions: np.ndarray
    names: Sequence[str]

    def phones(self, likelihoods: np.ndarray, weight: float) -> list[str]:
        """The most likely phones of log-likelihoods that are raised to the power `weight`."""
        viterbi = Viterbi(self.prior, self.transitions)
        states = [viterbi.add(weight * likelihoods), viterbi.finish()]
        return [phone.name for phone in phones(states, self.names, RATE / HOP)]


def main() -> None:
    """Measure, and write the page and its picture."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("corpus", type=Path)
    parser.add_argument("runs", type=Path)
    parser.add_argument("-o", "--out", type=Path, default=Path("benchmarks/results/phones.md"))
    parser.add_argument("--picture", type=Path, default=Path("docs/guides/phones.png"))
    options = parser.parse_args()
    draw(options.runs, options.picture)
    systems = {
        "GMM-HMM": gaussians(corpus_of(options.corpus, "train", states=STATES, exclude=HELD_OUT)),
        "DNN-HMM without pre-training": network(options.runs / "dnn_hmm_fresh"),
        "DNN-HMM": network(options.runs / "dnn_hmm_phones"),
        "TDNN in every frame": network(options.runs / "tdnn_frames_phones"),
    }
    rows = [row(name, system, options.corpus) for name, system in systems.items()]
    shares = right_of_windows(options.corpus, options.runs)
    with replacing(options.out) as temporary:
        temporary.write_text(page(rows, shares), encoding="utf-8")
    print(f"{options.out}, {options.picture}")


def corpus_of(corpus: Path, subset: str, **options) -> Events | PhoneWindows:
    """Sentences of the corpus at its rate."""
    return open_corpus("timit", path=str(corpus), subset=subset, sample_rate=RATE, **options)


def cepstra(samples: np.ndarray) -> np.ndarray:
    """MFCC `[..., 1 + n // HOP, COEFFICIENTS]` of `[..., n]`; sample m * HOP is amid frame m."""
    before = [(0, 0)] * (samples.ndim - 1) + [(N_FFT // 2, 0)]
    found = mfcc(
        np.pad(samples, before), sample_rate=RATE, n_fft=N_FFT, hop_length=HOP,
        coefficients=COEFFICIENTS, bands=26,
    )  # fmt: skip
    return np.asarray(found)[..., : 1 + samples.shape[-1] // HOP, :]


def with_derivatives(cepstra: np.ndarray) -> np.ndarray:
    """Cepstra `[frames, n]` and how they change, and how that does: `[frames, 3 * n]`."""
    import librosa

    changes = (librosa.feature.delta(cepstra.T, order=order).T for order in (1, 2))
    return np.concatenate([cepstra, *changes], axis=1)


def gaussians(corpus: Events) -> System:
    """A mixture a state, of the frames that are in it, and the chain of the states."""
    from sklearn.mixture import GaussianMixture

    names = state_names(PHONES, STATES)
    heard, labels = [], []
    for track, (_, samples) in enumerate(corpus.tracks):
        heard.append(with_derivatives(cepstra(corpus.sound(track, 0, samples)[:, 0])))
        labels.append(corpus.frames(track, 0, HOP, len(heard[-1])))
    chain = StateChain()
    chain.build((None, None, len(names)))
    chain.adapt(labels)
    frames, states = np.concatenate(heard), np.concatenate(labels)
    mean, deviation = frames.mean(axis=0), frames.std(axis=0)
    frames = (frames - mean) / deviation
    mixtures = [
        GaussianMixture(
            min(MIXTURES, 1 + int(inside.sum()) // 50), covariance_type="diag", reg_covar=1e-2,
            random_state=0,
        ).fit(frames[inside > 0])
        for inside in states.T
    ]  # fmt: skip

    def scores(samples: np.ndarray) -> np.ndarray:
        frames = (with_derivatives(cepstra(samples)) - mean) / deviation
        return np.stack([mixture.score_samples(frames) for mixture in mixtures], axis=1)

    return System(scores, np.asarray(chain.prior), np.asarray(chain.transitions), names)


def network(run: Path) -> System:
    """A run: probabilities by how often their names come are likelihoods."""
    listener, weights = FrameListener(run), presets.verified_weights(run)
    prior, transitions = weights["chain/prior"], weights["chain/transitions"]

    def scores(samples: np.ndarray) -> np.ndarray:
        return np.log(np.maximum(listener(samples, RATE).probabilities, FAINTEST) / prior)

    return System(scores, prior, transitions, listener.names)


def row(name: str, system: System, corpus: Path) -> dict[str, object]:
    """The phone error rate of the test, by the weight that is best on the held-out voices."""
    heard = likelihoods_and_phones(system, corpus, "train", VALIDATION)
    rates = [error_rate(system, heard, weight) for weight in WEIGHTS]
    best = WEIGHTS[int(np.argmin(rates))]
    test = error_rate(system, likelihoods_and_phones(system, corpus, "test"), best)
    print(f"{name:32}{test:8.1%}{min(rates):8.1%}{best:6}", flush=True)
    return {"system": name, "test": test, "held out": min(rates), "weight": best}


def likelihoods_and_phones(
    system: System, corpus: Path, subset: str, include: Sequence[str] = ()
) -> list[tuple[np.ndarray, list[str]]]:
    """(log-likelihoods, the phones that are spoken) of each sentence."""
    opened, files = corpus_of(corpus, subset, include=include), sentences(corpus, subset)
    return [
        (system.scores(opened.sound(track, 0, samples)[:, 0]),
         [phone.name for phone in read_phones(files[name][1], RATE)])
        for track, (name, samples) in enumerate(opened.tracks)
    ]  # fmt: skip


def error_rate(
    system: System, heard: Sequence[tuple[np.ndarray, list[str]]], weight: float
) -> float:
    """Wrong, missing and superfluous phones by those that are spoken, over all sentences."""
    errors = sum(
        metrics.phone_errors(spoken, system.phones(likelihoods, weight))
        for likelihoods, spoken in heard
    )
    return errors / sum(len(spoken) for _, spoken in heard)


def right_of_windows(corpus: Path, runs: Path) -> dict[str, float]:
    """The share of the test's phones that is told from the windows around them."""
    train = corpus_of(corpus, "train", each="phone", exclude=HELD_OUT)
    test = corpus_of(corpus, "test", each="phone")
    true, most_frequent = labels_of(test), np.bincount(labels_of(train)).argmax()
    shares = {"the most frequent phone": np.mean(true == most_frequent)}
    for name in ("tdnn", "cdbn"):
        model = presets.from_preset(runs / f"{name}_phones")
        samples = model.input_shape[1]
        answers = linear(train, samples).predict(flat_cepstra(test, samples))
        seconds = f"{samples / RATE:.2f} s"
        shares[f"logistic regression on the MFCC of {seconds}"] = np.mean(answers == true)
        sounds = np.concatenate(list(windows(test, samples)))[..., None]
        answers = model.predict(sounds, batch_size=128, verbose=0).argmax(axis=1)
        shares[f"`{name}`, {seconds}"] = np.mean(answers == true)
    for name, share in shares.items():
        print(f"{name:48}{share:8.1%}", flush=True)
    return shares


def labels_of(corpus: PhoneWindows) -> np.ndarray:
    """The number of each phone, `[phones]`."""
    return np.array([label for centres in corpus.centres for _, label in centres])


def windows(corpus: PhoneWindows, samples: int) -> Iterator[np.ndarray]:
    """Of each sentence the windows around its phones, `[phones, samples]`."""
    for track, (_, length) in enumerate(corpus.tracks):
        sound = corpus.sound(track, -samples, length + 2 * samples)[:, 0]
        starts = (centre + samples - samples // 2 for centre, _ in corpus.centres[track])
        yield np.stack([sound[start : start + samples] for start in starts])


def flat_cepstra(corpus: PhoneWindows, samples: int) -> np.ndarray:
    """All cepstra of each window, `[phones, frames * COEFFICIENTS]`."""
    found = [cepstra(each) for each in windows(corpus, samples)]
    return np.concatenate([each.reshape(len(each), -1) for each in found])


def linear(corpus: PhoneWindows, samples: int):
    """A logistic regression on the MFCC of windows of so many samples."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=200))
    return classifier.fit(flat_cepstra(corpus, samples), labels_of(corpus))


def page(rows: Sequence[dict[str, object]], shares: dict[str, float]) -> str:
    """The tables as Markdown."""
    lines = [
        "# Phones of espeak-ng's voices",
        "",
        f"`python -m benchmarks.phones CORPUS RUNS`, {machine()}.",
        "The corpus is that of `configs/listening/phones.py`: the six voices of the test, and its",
        "sentences, were in no training; two more voices were held out, on the training's texts.",
        "Errors are phones that are wrong, missing or too many, by those that are spoken; the",
        "weight of what is heard against the chain is the best one for the held-out voices.",
        "",
        "| system | errors, test | errors, held-out voices | weight |",
        "| --- | --- | --- | --- |",
        *(
            f"| {one['system']} | {one['test']:.1%} | {one['held out']:.1%} | {one['weight']} |"
            for one in rows
        ),
        "",
        "| a phone in the middle of a window, by | right, test |",
        "| --- | --- |",
        *(f"| {name} | {share:.1%} |" for name, share in shares.items()),
    ]
    return "\n".join(lines) + "\n"


def draw(runs: Path, path: Path) -> None:
    """Filters of first layers, those with the greatest norm: time to the right, frequency up."""
    weights = {
        name: presets.verified_weights(runs / name)
        for name in ("tdnn_phones", "dnn_hmm_fresh", "dnn_hmm_phones", "cdbn_phones")
    }
    first = {
        "TDNN, 3 frames of 32 mel bands": weights["tdnn_phones"]["delayed1/kernel"],
        "DNN-HMM without pre-training, 11 frames of 40 mel bands":
            weights["dnn_hmm_fresh"]["hidden1/kernel"],
        "DNN-HMM that began as a Boltzmann machine, 11 frames of 40 mel bands":
            weights["dnn_hmm_phones"]["hidden1/kernel"],
        "CDBN, learned without labels, 6 frames of 160 bins":
            weights["cdbn_phones"]["conv1/kernel"],
    }  # fmt: skip
    # Of whitened components; by this they are spectra again.
    unwhitened = np.linalg.pinv(weights["cdbn_phones"]["whitened/kernel"])
    drawn = figure(9.0, 7.0)
    for part, (title, kernels) in zip(drawn.subfigures(len(first), 1), first.items(), strict=True):
        part.suptitle(title, fontsize=9)
        strongest = np.argsort(-np.linalg.norm(kernels, axis=(0, 1)))[:SHOWN]
        for axes, unit in zip(part.subplots(1, SHOWN), strongest, strict=True):
            image = kernels[:, :, unit]
            image = (image @ unwhitened if title.startswith("CDBN") else image).T
            most = np.abs(image).max()
            axes.imshow(image, origin="lower", aspect="auto", cmap="RdBu_r", vmin=-most, vmax=most)
            axes.set_axis_off()
    with replacing(path) as temporary:
        drawn.savefig(temporary, format="png", dpi=100)


if __name__ == "__main__":
    main()
