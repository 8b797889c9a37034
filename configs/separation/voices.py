"""Folders of single voices from two Debian packages of prompts and one of a game.

    python configs/separation/voices.py PROMPTS FISH OUT

PROMPTS: /usr/share/asterisk/sounds of asterisk-core-sounds-{en,es,fr,it,ru}-g722, CC BY-SA 3.0 and
    CC BY: one speaker a language, English and Spanish by the same.
FISH: /usr/share/games/fillets-ng/sound of fillets-ng-data-{cs,nl}, GPL-2: the small fish (m) and
    the big one (v) talk in LEVEL/LANGUAGE/*-m-*.ogg and *-v-*.ogg.
Writes OUT/<voice>/..., links to the recordings, which must stay where they are.
"""

from __future__ import annotations

import sys
from pathlib import Path

import soundfile

LEAST_SECONDS = 0.1  # a few lines of the fish are empty files


def main(prompts: str, fish: str, out: str) -> None:
    """Link the recordings; folders that exist are left as they are."""
    target = Path(out)
    target.mkdir(parents=True, exist_ok=True)
    for folder in sorted(Path(prompts).glob("*_*")):
        _link(target / folder.name, folder)
    for recording in sorted(Path(fish).glob("*/[cn][sl]/*-[mv]-*.ogg")):
        level, language = recording.parts[-3:-1]
        if soundfile.info(recording).duration >= LEAST_SECONDS:
            voice = target / f"{language}_{recording.name.split('-')[1]}"
            voice.mkdir(exist_ok=True)
            _link(voice / f"{level}-{recording.name}", recording)


def _link(place: Path, what: Path) -> None:
    if not place.exists():
        place.symlink_to(what.resolve())


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit("usage: python configs/separation/voices.py PROMPTS FISH OUT")
    main(*sys.argv[1:])
