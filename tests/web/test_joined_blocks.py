"""How the page cuts and joins recordings, run by Node.js without a browser or a network."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from kzoo import web
from kzoo.dsp.blocks import BlockGrid
from kzoo.separation import BlockSeparator, System
from kzoo.separation.levels import GatedLevel

BLOCKS = Path(web.__file__).parent / "page" / "blocks.js"
# A network that halves its sound, and gives a third of it as well: in another order each time; or,
# of a card that says how blocks are joined, one that is louder by the place in a block.
PROGRAM = """
import { inBlocks, asStream, gainOf } from %(blocks)s;
const values = %(values)s, card = %(card)s;
const part = (start, count) => (channel) => Float32Array.from(channel.slice(start, start + count));
const recording = { samples: values[0].length, channels: values.length,
  read: async (start, count) => values.map(part(start, count)) };
let calls = 0;
const shares = (x) => [x.map((v) => v / 2 + (card.hum ?? 0)), x.map((v) => v / 3)];
const fickle = async (x) => {
  const [a, b] = shares(x);
  return calls++ %% 3 === 1 ? { one: b, two: a } : { one: a, two: b };
};
const placed = async (x) => {
  const rising = (i) => Math.floor(i / card.channels) / (card.block_samples - 1);
  const times = (share) => x.map((v, i) => Math.tanh(v) * share(i));
  return { one: times(rising), two: times((i) => 1 - rising(i)) };
};
const begin = () => {  // a stream that is two samples late
  let kept = [0, 0];
  return async (hop) => {
    const late = Float32Array.from([...kept, ...hop]);
    kept = late.slice(-2);
    return { one: late.slice(0, hop.length), two: late.slice(0, hop.length) };
  };
};
const gain = await gainOf(recording, card), out = { one: [], two: [], gain };
const through = card.stream ? asStream(begin, recording, card, gain)
  : inBlocks(card.joining ? placed : fickle, recording, card, gain, !card.joining);
for await (const { stems } of through) {
  for (const name of card.sources) out[name].push(...stems[name]);
}
console.log(JSON.stringify(out));
"""


def run(sound, *, refused=False, **card):
    """{"one", "two": [samples, channels], "gain"} of a sound `[samples, channels]`.

    refused: what the program says where it must fail.
    """
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node.js is not installed")
    card = {"sample_rate": 100, "sources": ["one", "two"], "channels": 1, **card}
    program = PROGRAM % {
        "blocks": json.dumps(BLOCKS.as_uri()),
        "values": json.dumps(np.asarray(sound, float).T.tolist()),
        "card": json.dumps(card),
    }
    done = subprocess.run(
        [node, "--input-type=module", "-"], input=program, capture_output=True, text=True
    )
    if refused:
        assert done.returncode == 1
        return done.stderr
    assert done.returncode == 0, done.stderr
    out = json.loads(done.stdout)
    shaped = {name: np.reshape(out[name], (-1, sound.shape[1])) for name in card["sources"]}
    return {**shaped, "gain": out["gain"]}


def test_speakers_keep_their_order_from_block_to_block_and_channel_to_channel(rng):
    sound = rng.standard_normal((333, 1)) * [1.0, 0.5]
    found = run(sound, block_samples=100)
    np.testing.assert_allclose(found["one"], sound / 2, atol=1e-6)
    np.testing.assert_allclose(found["two"], sound / 3, atol=1e-6)


@pytest.mark.parametrize(("samples", "width", "channels"), [(337, 2, 2), (160, 2, 1), (67, 1, 2)])
def test_blocks_are_joined_as_the_card_says(rng, samples, width, channels):
    """width: channels of the recording. Of 160 samples the last block has ten."""
    grid = BlockGrid(100, 75, linear=True, centred=True)
    rising = np.linspace(0, 1, grid.samples, dtype=np.float32)[:, None]
    shares = np.stack([rising, 1 - rising])
    separator = BlockSeparator(
        System(
            function=lambda block: np.tanh(block)[:, None] * shares, sources=("one", "two"),
            sample_rate=100, channels=channels, grid=grid, standardised=True,
        )
    )  # fmt: skip
    sound = 0.3 + 0.05 * rng.standard_normal((samples, width)).astype(np.float32)
    joining = {"linear": True, "centred": True, "standardised": True}
    card = {"block_samples": 100, "overlap_samples": 25, "channels": channels, "joining": joining}
    found = run(sound, **card)
    for source, expected in separator.separate(sound, 100).items():
        np.testing.assert_allclose(found[source], expected, atol=1e-6)


def test_a_joining_that_is_not_known_is_refused():
    said = run(np.zeros((9, 1)), refused=True, block_samples=4, joining={"mirrored": True})
    assert "Its blocks are joined mirrored, which this page does not know." in said


@pytest.mark.parametrize("samples", [1, 30, 333])
def test_the_delay_of_a_stream_is_taken_off_to_the_sample(rng, samples):
    sound = rng.standard_normal((samples, 2))
    found = run(sound, stream={"frames": 2, "hop_length": 4, "delay_samples": 2})
    np.testing.assert_allclose(found["one"], sound, atol=1e-6)


def test_a_recording_is_brought_to_the_level_without_its_pauses(rng):
    sound = np.concatenate([0.1 * rng.standard_normal((200, 1)), np.zeros((300, 1))])
    level = GatedLevel(100)
    level.add(np.float32(sound))
    found = run(sound, block_samples=100, level_db=-30.0)
    assert found["gain"] == pytest.approx(10 ** ((-30 - level.db) / 20), rel=1e-5)
    np.testing.assert_allclose(found["one"], sound / 2, atol=1e-6)
    assert run(np.zeros((200, 1)), block_samples=100, level_db=-30.0)["gain"] == 0
    humming = run(sound, block_samples=100, level_db=-30.0, hum=0.1)["one"]
    assert np.all(humming[:200])
    assert not np.any(humming[300:])  # what is silent stays so
