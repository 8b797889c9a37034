"""A corpus of phones without a download: espeak-ng reads texts, and says when it speaks each phone.

python configs/listening/phones.py OUT [SENTENCES]

OUT        {TRAIN,TEST}/DR1/<voice>/si<number>.{WAV,PHN,TXT}, as TIMIT has them: NIST SPHERE at
           16 kHz, and the phones by TIMIT's names with their samples. --kind timit reads it
SENTENCES  each voice reads so many in training, by default 60, and a third of them in the test

American English by espeak-ng 1.51 (Debian's libespeak-ng1). No voice of the training is in the
test, and no sentence: those of the training are of the GPL, the FDL and the MPL as Debian has
them in /usr/share/common-licenses, those of the test of the Apache licence, Artistic and CC0.
Speed and pitch are drawn for each sentence. Differences from TIMIT: stops have no closures of
their own, and a vowel that espeak-ng holds for one with the r behind it ("car") is cut in the
middle.
"""

import ctypes
import itertools
import re
import sys
from pathlib import Path

import numpy as np
import soundfile
import soxr

RATE = 16000
TEXTS = Path("/usr/share/common-licenses")
PARTS = {
    "TRAIN": (
        ("GPL-3", "GFDL-1.3", "MPL-2.0"),
        ("f1", "f3", "f4", "Annie", "belinda", "steph", "m1", "m2", "m4", "m5", "m6", "m8",
         "Alex", "Denis", "edward", "travis"),
    ),
    "TEST": (("Apache-2.0", "Artistic", "CC0-1.0"), ("f2", "f5", "linda", "m3", "m7", "david")),
}  # fmt: skip
FEMALE = ("Annie", "belinda", "steph", "linda")
# espeak-ng's names to TIMIT's; what is not here is called the same.
PHONES = {
    "_": "pau", "_:": "pau", "_!": "pau", "?": "q", "@": "ax", "@2": "ax", "@-": "ax",
    "a#": "ax", "@L": "el",
    "n-": "en", "3": "axr", "3:": "er", "I": "ih", "I2": "ih", "I#": "ih", "i": "iy", "i:": "iy",
    "E": "eh", "a": "ae", "aa": "ae", "A:": "aa", "0": "aa", "O:": "ao", "O2": "ao", "V": "ah",
    "U": "uh", "u:": "uw", "eI": "ey", "aI": "ay", "OI": "oy", "aU": "aw", "oU": "ow",
    "A@": "aa r", "O@": "ao r", "o@": "ao r", "U@": "uh r", "e@": "eh r", "i@": "iy ax",
    "i@3": "iy axr", "aI3": "ay axr", "aI@": "ay ax", "r-": "r", "j": "y", "h": "hh", "N": "ng",
    "t#": "dx", "t2": "t", "tS": "ch", "dZ": "jh", "T": "th", "D": "dh", "S": "sh", "Z": "zh",
    "w#": "w",
}  # fmt: skip
SAME = frozenset("bdfgklmnprstvwz")
PHONEME, LIST_END = 7, 0


class Id(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("text", ctypes.c_char * 8))


class Event(ctypes.Structure):
    """espeak_EVENT of speak_lib.h."""

    _fields_ = (
        ("type", ctypes.c_int), ("unique", ctypes.c_uint), ("place", ctypes.c_int),
        ("length", ctypes.c_int), ("milliseconds", ctypes.c_int), ("sample", ctypes.c_int),
        ("user", ctypes.c_void_p), ("id", Id),
    )  # fmt: skip


class Speaker:
    """espeak-ng, of which a process has one."""

    def __init__(self):
        self.library = ctypes.CDLL("libespeak-ng.so.1")
        self.rate = self.library.espeak_Initialize(1, 0, None, 1)  # sound and phonemes to us
        self.sound, self.events = [], []
        kind = ctypes.CFUNCTYPE(
            ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(Event)
        )
        self.callback = kind(self._heard)
        self.library.espeak_SetSynthCallback(self.callback)

    def _heard(self, samples, count, events):
        if samples and count:
            self.sound.append(np.ctypeslib.as_array(samples, (count,)).copy())
        number = 0
        while events[number].type != LIST_END:
            if events[number].type == PHONEME:
                name = events[number].id.text.decode()
                self.events.append((events[number].sample, name))
            number += 1
        return 0

    def speak(self, text: str, voice: str, *, words_a_minute: int, pitch: int):
        """(samples, [(first sample, espeak-ng's name of the phone)])."""
        self.sound, self.events = [], []
        if self.library.espeak_SetVoiceByName(f"en-us+{voice}".encode()):
            sys.exit(f"espeak-ng has no voice en-us+{voice}")
        self.library.espeak_SetParameter(1, words_a_minute, 0)
        self.library.espeak_SetParameter(3, pitch, 0)
        encoded = text.encode()
        self.library.espeak_Synth(encoded, len(encoded) + 1, 0, 1, 0, 1, None, None)
        self.library.espeak_Synchronize()
        return np.concatenate(self.sound), self.events


def phones(events, samples: int):
    """[(first sample, the one behind the last, TIMIT's phone)] from the beginning to the end."""
    found = [[0, "h#"]]
    for sample, name in events:
        if name == ";":  # the y of what came before
            continue
        if name not in PHONES and name not in SAME:
            sys.exit(f"espeak-ng speaks a phone {name!r} that has no name here")
        found.append([sample, PHONES.get(name, name)])
    found.append([samples, ""])
    cut = []
    for (start, names), (end, _) in itertools.pairwise(found):
        each = names.split()
        edges = np.linspace(start, end, len(each) + 1).round().astype(int)
        cut += zip(edges[:-1], edges[1:], each, strict=True)
    return [(start, end, phone) for start, end, phone in cut if end > start]


def sentences(texts) -> list[str]:
    """Runs of 4 to 12 words between marks, each once."""
    text = " ".join((TEXTS / name).read_text("utf-8", errors="ignore") for name in texts)
    runs = (" ".join(run.split()) for run in re.split(r"[^A-Za-z' \n]+", text))
    return list(dict.fromkeys(
        run for run in runs if 4 <= len(run.split()) <= 12 and not run.isupper()
    ))  # fmt: skip


def main(out: Path, count: int) -> None:
    """Write the corpus."""
    speaker = Speaker()
    heard = set()
    for part, (texts, voices) in PARTS.items():
        rng = np.random.default_rng(len(part))
        lines = [line for line in sentences(texts) if line not in heard]
        heard.update(lines)
        each = count if part == "TRAIN" else count // 3
        for voice in voices:
            sex = "f" if voice in FEMALE or voice.startswith("f") else "m"
            folder = out / part / "DR1" / f"{sex}{voice.lower()}"
            folder.mkdir(parents=True, exist_ok=True)
            for number, line in enumerate(rng.choice(lines, each, replace=False), start=1):
                sound, events = speaker.speak(
                    str(line), voice, words_a_minute=int(rng.integers(130, 200)),
                    pitch=int(rng.integers(35, 66)),
                )  # fmt: skip
                write(folder / f"si{number}", line, sound, events, speaker.rate)


def write(place: Path, line: str, sound, events, rate: int) -> None:
    resampled = soxr.resample(sound.astype(np.float32) / 32768, rate, RATE)
    samples = len(resampled)
    rows = phones([(round(at * RATE / rate), name) for at, name in events], samples)
    soundfile.write(place.with_suffix(".WAV"), resampled, RATE, "PCM_16", format="NIST")
    text = "".join(f"{start} {end} {phone}\n" for start, end, phone in rows)
    place.with_suffix(".PHN").write_text(text)
    place.with_suffix(".TXT").write_text(f"0 {samples} {line}\n")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) == 3 else 60)
