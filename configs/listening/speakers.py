"""Forty speakers without a download: a folder of recordings a voice of espeak-ng.

python configs/listening/speakers.py OUT [SENTENCES]

OUT        {train,validation,test}/<voice>/<number>.wav, 8 kHz, of the kind "labelled"
SENTENCES  each voice reads so many in training, by default 30, and a third of them in each of the
           other parts

American English by espeak-ng 1.51. No sentence of one part is in another; those of the test are
of other texts than those of the training and the validation, see phones.py. What would give a
voice away is drawn for each sentence: pitch and speed; pink noise 5 to 20 dB below the voice.
Recordings begin with the first phone and end with the last.
"""

import sys
from pathlib import Path

import numpy as np
import phones
import soundfile
import soxr

RATE = 8000
VOICES = (
    "adam", "Alex", "Alicia", "Andrea", "Andy", "Annie", "antonio", "aunty", "belinda", "benjamin",
    "boris", "caleb", "david", "Denis", "ed", "edward", "Gene", "gustave", "Henrique", "Hugo",
    "iven", "Jacky", "john", "kaukovalta", "Lee", "linda", "Marco", "Mario", "max", "Michael",
    "miguel", "pablo", "paul", "quincy", "rob", "robert", "steph", "travis", "victor", "zac",
)  # fmt: skip


def main(out: Path, count: int) -> None:
    """Write the corpus."""
    speaker, rng = phones.Speaker(), np.random.default_rng(0)
    texts, _ = phones.PARTS["TRAIN"]
    unheard, _ = phones.PARTS["TEST"]
    known = phones.sentences(texts)
    other = [line for line in phones.sentences(unheard) if line not in set(known)]
    third = count // 3
    for voice in VOICES:
        lines = rng.choice(known, count + third, replace=False)
        parts = {"train": lines[:count], "validation": lines[count:]}
        parts["test"] = rng.choice(other, third, replace=False)
        for part, read in parts.items():
            folder = out / part / voice.lower()
            folder.mkdir(parents=True, exist_ok=True)
            for number, line in enumerate(read):
                sound = noisy(spoken(speaker, str(line), voice, rng), rng)
                soundfile.write(folder / f"{number:02}.wav", sound, RATE, "PCM_16")


def spoken(speaker: phones.Speaker, line: str, voice: str, rng) -> np.ndarray:
    """A sentence from its first phone to its last."""
    sound, events = speaker.speak(
        line, voice, words_a_minute=int(rng.integers(130, 200)), pitch=int(rng.integers(20, 81))
    )
    edges = [(start, end) for start, end, phone in phones.phones(events, len(sound))
             if phone not in ("h#", "pau")]  # fmt: skip
    cut = sound[edges[0][0] : edges[-1][1]].astype(np.float32) / 32768
    return soxr.resample(cut, speaker.rate, RATE)


def noisy(voice: np.ndarray, rng) -> np.ndarray:
    """The voice at a level of -26 dB with pink noise, 5 to 20 dB below it."""
    spectrum = np.fft.rfft(rng.standard_normal(len(voice)))
    noise = np.fft.irfft(spectrum / np.sqrt(np.arange(1, len(spectrum) + 1)), len(voice))
    voice, noise = (0.05 * x / np.sqrt(np.mean(np.square(x))) for x in (voice, noise))
    return voice + 10 ** (-rng.uniform(5, 20) / 20) * noise


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) == 3 else 30)
