"""More voices, and a city's noises, for the training on speech; 16 kHz mono.

python configs/enhancement/voices.py PACKAGES SOUNDS OUT

PACKAGES   folder of these packages of Debian, each unpacked by dpkg -x into a folder of its name:
           fillets-ng-data-cs, fillets-ng-data-nl (GPL-2+; two actors each, who play two fish),
           ktuberling-data (GPL-2+; words in many languages), lincity-ng-data (GPL-2+), and for
           separation klettres-data (GPL-2+; letters and syllables in many languages)
SOUNDS     /usr/share/asterisk/sounds, of Debian's asterisk-core-sounds-{en,es,fr,it,ru}-g722
OUT/speech/<speaker>/   an actor, a language, or SOUNDS's own folder, linked
OUT/noise/city/         a minute each of a city's sounds after one another
"""

import sys
from pathlib import Path

import numpy as np
from noisy import MINUTE, read, write

LANGUAGES = ("ca", "da", "de", "el", "en", "fr", "gl", "lt", "nn", "ru", "sl", "uk", "wa")
ACTORS = {"m": "small", "v": "big"}  # the fish whose lines a file's name says it has


def spoken(path: Path, out: Path) -> None:
    if len(sound := read(path)):  # a few files are empty
        write(out / f"{path.stem}.wav", sound)


def actors(packages: Path, out: Path) -> None:
    for language in ("cs", "nl"):
        for path in sorted((packages / f"fillets-ng-data-{language}").rglob("*-*-*.ogg")):
            if fish := ACTORS.get(path.stem.split("-")[1]):
                spoken(path, out / f"fillets_{language}_{fish}")


def words(packages: Path, out: Path) -> None:
    folder = packages / "ktuberling-data/usr/share/ktuberling/sounds"
    for language in LANGUAGES:
        for path in sorted((folder / language).iterdir()):
            spoken(path, out / f"ktuberling_{language}")


def letters(packages: Path, out: Path) -> None:
    languages = packages / "klettres-data/usr/share/klettres"
    for path in sorted(languages.glob("*/*/*.ogg")):
        language, kind, _ = path.relative_to(languages).parts
        write(out / f"klettres_{language}" / f"{kind}_{path.stem}.wav", read(path))


def city(packages: Path, out: Path) -> None:
    sounds = [read(path) for path in sorted((packages / "lincity-ng-data").rglob("*.wav"))]
    order = np.random.default_rng(0).permutation(len(sounds))
    levelled = [sounds[k] * (0.05 / max(np.sqrt(np.mean(sounds[k] ** 2)), 1e-4)) for k in order]
    whole = np.concatenate(levelled)
    for number in range(-(-len(whole) // MINUTE)):
        write(out / f"{number}.wav", whole[number * MINUTE :][:MINUTE])


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    packages, sounds, out = map(Path, sys.argv[1:])
    actors(packages, out / "speech")
    words(packages, out / "speech")
    letters(packages, out / "speech")
    city(packages, out / "noise" / "city")
    for folder in sorted(sounds.iterdir()):
        (out / "speech" / folder.name).symlink_to(folder.resolve())
