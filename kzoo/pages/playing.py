"""The part of a page in which sounds are played in step, one of them heard at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kzoo.pages.document import escaped


@dataclass(frozen=True)
class Sound:
    """One sound of a player.

    name: on its button. audio: a data URI, see `embedded_audio`. picture: that of an image as wide
    as the sound is long, or None. note: what is said beside the name.
    match_db: the gain that it has while levels are matched, see `matched_db`.
    """

    name: str
    audio: str
    picture: str | None = None
    note: str = ""
    match_db: float = 0.0


def player(rows: Mapping[str, Sequence[Sound]], seconds: float) -> str:
    """HTML of a player of sounds that are all `seconds` long.

    rows: {title: sounds}, such as a row for each stem with a sound of each system; a row without a
    title has "" for it. Of several players on a page one plays at a time. The page needs the
    script "player.js", without which the browser's own controls are there.
    """
    tracks = "\n".join(
        f'<div class="row" role="group" aria-label="{escaped(title or "sounds")}">'
        + (f"<h2>{escaped(title)}</h2>" if title else "")
        + "".join(map(_track, sounds))
        + "</div>"
        for title, sounds in rows.items()
    )
    return _TRANSPORT.format(seconds=f"{seconds:.6f}", length=_clock(seconds), tracks=tracks)


def _track(sound: Sound) -> str:
    picture = ""
    if sound.picture is not None:
        image = f'<img src="{sound.picture}" alt="Spectrogram of {escaped(sound.name)}">'
        picture = f'<div class="picture">{image}<div class="cursor"></div></div>'
    return (
        f'<article class="track" data-match-db="{sound.match_db:.2f}"><div class="controls">'
        f'<button type="button" class="listen" aria-pressed="false">{escaped(sound.name)}</button>'
        f'<span class="hint">{escaped(sound.note)}</span>'
        f'<audio controls preload="none" src="{sound.audio}"></audio>'
        f"</div>{picture}</article>"
    )


def _clock(seconds: float) -> str:
    tenths = round(10 * seconds)
    return f"{tenths // 600}:{tenths // 10 % 60:02d}.{tenths % 10}"


_TRANSPORT = """<section class="player" data-seconds="{seconds}" aria-label="Player" tabindex="-1">
<div class="line transport">
<button type="button" class="primary round play" aria-label="Play">
<svg viewBox="0 0 16 16" aria-hidden="true"><path class="go" d="M4 2l10 6-10 6z"/>
<path class="halt" d="M4 2h3v12H4zm5 0h3v12H9z"/></svg></button>
<output class="clock">0:00.0</output>
<input class="seek" type="range" min="0" max="{seconds}" step="0.01" value="0"
 aria-label="Position in seconds">
<span class="length">{length}</span>
<button type="button" class="loop" aria-pressed="false">Loop</button>
</div>
{tracks}
</section>"""
