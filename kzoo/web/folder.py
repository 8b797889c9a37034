"""A folder for any static host: the page, the networks that it runs, and LiteRT.js."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import kzoo
from kzoo import files
from kzoo.presets import Preset
from kzoo.presets.cache import cache_folder
from kzoo.web import litert_js

PAGE = Path(__file__).parent / "page"
# Sent with every file: the first two let LiteRT.js have threads, the third keeps the page from
# fetching anything from, or sending anything to, another place than its own.
HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Content-Security-Policy": "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; "
    "worker-src 'self' blob:; connect-src 'self' blob:; img-src 'self' data: blob:",
}


def write_page(
    folder: Path,
    cards: Sequence[Mapping[str, Any]],
    *,
    licences: str,
    interchangeable: bool = False,
    node_modules: Path | None = None,
) -> Path:
    """Write the page of the TFLite files of `cards` to `folder`.

    cards: what `kzoo.export` gave, one preset in one precision or more. Of a preset that streams
        the page runs the file whose state is its caller's, which is of every precision the same.
    licences: of code, weights and data, as text. interchangeable: the order of the sources means
        nothing, and may change from block to block. node_modules: where npm has put LiteRT.js; by
        default it is fetched by npm once, into the cache.
    Raises ValueError for a network that takes more than a waveform, and as `litert_js.packages`.
    """
    if more := set(cards[0]["inputs"]) - {cards[0]["input"]}:
        raise ValueError(
            f"a page gives a network a waveform alone; this one takes {', '.join(more)} too"
        )
    shutil.copytree(PAGE, folder, dirs_exist_ok=True)
    litert_js.copy(folder / "litert", node_modules)
    models, paths = folder / "models", []
    models.mkdir()
    for card in cards[:1] if "stream" in cards[0] else cards:
        artefact = Path(card["path"])
        runs = artefact.with_name(card["stream"]["twin"]) if "stream" in card else artefact
        shutil.copyfile(runs, models / runs.name)
        shutil.copyfile(artefact.with_suffix(".json"), models / f"{artefact.stem}.json")
        paths.append(f"models/{artefact.stem}.json")
    index = json.dumps({"cards": paths, "interchangeable": interchangeable}, indent=2)
    (folder / "page.json").write_text(index + "\n", encoding="utf-8")
    ours = f"LiteRT.js {litert_js.VERSION} (litert/): Apache-2.0, see APACHE-2.0.txt"
    (folder / "LICENCES.txt").write_text(f"{licences.strip()}\n\n{ours}\n", encoding="utf-8")
    # Netlify and Cloudflare Pages read it; to other hosts it is a file like any.
    lines = ["/*", *(f"  {name}: {value}" for name, value in HEADERS.items())]
    (folder / "_headers").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def cached(preset: Preset) -> Path:
    """Where the page of a preset that is on this machine lies in the cache, made or not."""
    known = {
        "card": dict(preset.card), "weights": files.file_sha256(preset.download()),
        "page": sorted((path.name, files.file_sha256(path)) for path in PAGE.iterdir()),
        "kzoo": kzoo.__version__, "litert_js": litert_js.VERSION,
    }  # fmt: skip
    key = hashlib.sha256(json.dumps(known, sort_keys=True, default=str).encode()).hexdigest()
    return cache_folder() / "pages" / f"{preset.card['name']}-{key[:16]}"
