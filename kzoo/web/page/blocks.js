// Recordings of any length through a network of one block, or through one that takes hop after hop.
//
// A recording is {samples, channels, read(start, count) -> Promise of Float32Array[channel]}. Both
// functions yield {start, stems: {source: interleaved Float32Array}}, which join to exactly its length.

import { Problem } from "./problem.js";

const JOINING = ["linear", "centred", "standardised"];

// How the card says that blocks are joined, {} where it says nothing.
export function joiningOf({ joining = {} }) {
  const unknown = Object.keys(joining).filter((name) => !JOINING.includes(name));
  if (unknown.length) throw new Problem(`Its blocks are joined ${unknown.join(", ")}, which this page does not know.`);
  return joining;
}

// Blocks share `overlap` samples, and each fades into the next along a squared sine; or linearly, where the
// card's `joining` says so, which may have the last one centred in what is there, and whole recordings standardised.
// run: interleaved [block, card.channels] -> Promise of {source: the same shape}. interchangeable:
// sources, as speakers are, come out of every block in an order of its own; they are put in that of
// the block before, and in that of the first channels.
export async function* inBlocks(run, recording, card, gain, interchangeable = false) {
  const { block_samples: block, channels, sources } = card, { linear, centred, standardised } = joiningOf(card);
  const overlap = card.overlap_samples ?? Math.min(card.sample_rate, Math.floor(block / 4));
  const hop = block - overlap;
  const fade = Float32Array.from({ length: overlap }, (_, i) =>
    linear ? (i + 1) / (overlap + 1) : Math.sin((Math.PI / 2 * (i + 0.5)) / overlap) ** 2);
  const groups = grouped(recording.channels, channels);
  const tails = groups.map(() => ({}));
  const scales = standardised ? await scalesOf(recording, groups) : groups.map(() => ({ mean: 0, deviation: 1 }));
  // What has a joining begins a block at every hop, even behind one that hears the end.
  const end = card.joining ? recording.samples : Math.max(recording.samples - overlap, 1);
  for (let start = 0; start < end; start += hop) {
    const present = Math.min(block, recording.samples - start), count = start + hop < end ? hop : present;
    const early = centred ? Math.floor((block - present) / 2) : 0, from = Math.max(0, start - early);
    const heard = await recording.read(from, start + present - from);
    const stems = empty(sources, count * recording.channels);
    let leader = null;
    for (const [number, group] of groups.entries()) {
      const { mean, deviation } = scales[number], times = gain / deviation;
      const input = interleaved(heard, group, channels, block, times, mean, early - (start - from));
      // A network may say something in silence, which recordings that are brought to a level keep.
      const silent = card.level_db !== undefined && input.every((value) => value === 0);
      let found = silent ? empty(sources, input.length) : await run(input);
      for (const source of sources) found[source].copyWithin(0, early * channels);
      if (interchangeable) found = leader = inOrder(found, sources, tails[number], leader, fade, channels);
      for (const source of sources) {
        const stem = found[source];
        for (let i = 0; gain && i < stem.length; i++) stem[i] = stem[i] / times + mean;
        const tail = tails[number][source];
        if (tail) {
          for (let i = 0; i < overlap * channels; i++) {
            const weight = fade[Math.floor(i / channels)];
            stem[i] = weight * stem[i] + (1 - weight) * tail[i];
          }
        }
        tails[number][source] = stem.slice(hop * channels);
        put(stem, channels, group, stems[source], recording.channels, count);
      }
    }
    yield { start, stems };
  }
}

// The sound of a stream is late by `delay_samples`, which are taken off.
// begin() -> step(interleaved [hop, card.channels]) -> Promise of {source: the same shape}.
export async function* asStream(begin, recording, card, gain) {
  const { channels, sources } = card, { frames, hop_length, delay_samples: late } = card.stream;
  const hop = frames * hop_length;
  const groups = grouped(recording.channels, channels), steps = groups.map(begin);
  const hops = Math.ceil((recording.samples + late) / hop);
  const piece = Math.ceil((card.sample_rate + late) / hop); // a second and more
  let start = 0;
  for (let first = 0; first < hops; first += piece) {
    const count = Math.min(piece, hops - first), from = Math.min(first * hop, recording.samples);
    const present = Math.min(count * hop, recording.samples - from);
    const skipped = first ? 0 : late, kept = Math.min(count * hop - skipped, recording.samples - start);
    const heard = await recording.read(from, present), stems = empty(sources, kept * recording.channels);
    for (const [number, group] of groups.entries()) {
      const joined = empty(sources, count * hop * channels);
      const input = interleaved(heard, group, channels, count * hop, gain);
      for (let at = 0; gain && at < input.length; at += hop * channels) {
        const found = await steps[number](input.subarray(at, at + hop * channels));
        for (const source of sources) joined[source].set(found[source], at);
      }
      for (const source of sources) {
        const stem = joined[source].subarray(skipped * channels);
        if (gain) for (let i = 0; i < stem.length; i++) stem[i] /= gain;
        put(stem, channels, group, stems[source], recording.channels, kept);
      }
    }
    yield { start, stems };
    start += kept;
  }
}

// The order of `found` that is nearest to the tails of the block before, where both count in the fade,
// and to the leader's.
function inOrder(found, sources, tails, leader, fade, channels) {
  const likeness = sources.map((before) => sources.map((now) => {
    let sum = 0;
    const tail = tails[before], stem = found[now];
    for (let i = 0; tail && i < fade.length * channels; i++) {
      const weight = fade[Math.floor(i / channels)];
      sum += weight * (1 - weight) * tail[i] * stem[i];
    }
    for (let i = 0; leader && i < stem.length; i++) sum += leader[before][i] * stem[i];
    return sum;
  }));
  let best = null, most = -Infinity;
  for (const order of permutations(sources.length)) {
    const sum = order.reduce((total, now, before) => total + likeness[before][now], 0);
    if (sum > most) [best, most] = [order, sum]; // the first is theirs, which stays where all are alike
  }
  return Object.fromEntries(sources.map((source, i) => [source, found[sources[best[i]]]]));
}

function permutations(count) {
  if (!count) return [[]];
  return permutations(count - 1).flatMap((rest) =>
    Array.from({ length: count }, (_, i) => [...rest.slice(0, count - 1 - i), count - 1, ...rest.slice(count - 1 - i)]));
}

// The gain that brings a recording to the card's level: the mean power of the 50 ms frames that are
// at most 30 dB below the loudest, counted in classes of 1 dB. 0 for silence, 1 without a level.
export async function gainOf(recording, card) {
  if (card.level_db === undefined) return 1;
  const frame = Math.max(1, Math.round(0.05 * card.sample_rate)), classes = new Map();
  const piece = frame * 200;
  for (let start = 0; start < recording.samples; start += piece) {
    const heard = await recording.read(start, Math.min(piece, recording.samples - start));
    for (let at = 0; at + frame <= heard[0].length; at += frame) {
      let power = 0;
      for (const channel of heard) for (let i = at; i < at + frame; i++) power += channel[i] * channel[i];
      power /= frame * heard.length;
      if (power <= 1e-14) continue;
      const kind = Math.floor(10 * Math.log10(power)), [sum, count] = classes.get(kind) ?? [0, 0];
      classes.set(kind, [sum + power, count + 1]);
    }
  }
  if (!classes.size) return 0;
  const loudest = Math.max(...classes.keys());
  let sum = 0, count = 0;
  for (const [kind, [powers, frames]] of classes) {
    if (kind >= loudest - 30) { sum += powers; count += frames; }
  }
  return 10 ** ((card.level_db - 10 * Math.log10(sum / count)) / 20);
}

// The channels that go through a network of `width` together.
function grouped(channels, width) {
  const groups = [];
  for (let c = 0; c < channels; c += width) {
    groups.push(Array.from({ length: Math.min(width, channels - c) }, (_, i) => c + i));
  }
  return groups;
}

// The mean and the deviation of the mean of each group's channels, over the whole recording.
async function scalesOf(recording, groups) {
  const piece = 1 << 16, sums = groups.map(() => [0, 0]);
  for (let start = 0; start < recording.samples; start += piece) {
    const heard = await recording.read(start, Math.min(piece, recording.samples - start));
    for (const [number, group] of groups.entries()) {
      for (let i = 0; i < heard[0].length; i++) {
        let mono = 0;
        for (const c of group) mono += heard[c][i] / group.length;
        sums[number][0] += mono;
        sums[number][1] += mono * mono;
      }
    }
  }
  return sums.map(([sum, squares]) => {
    const mean = sum / recording.samples, variance = Math.max(squares - sum * mean, 0) / Math.max(recording.samples - 1, 1);
    return { mean, deviation: Math.sqrt(variance) + 1e-8 };
  });
}

// Channels side by side in `samples` frames, from frame `at` on, and silence around them; one channel goes to
// both sides.
function interleaved(heard, group, channels, samples, gain, mean = 0, at = 0) {
  const out = new Float32Array(samples * channels);
  for (let c = 0; c < channels; c++) {
    const from = heard[group[c % group.length]];
    for (let i = 0; i < from.length; i++) out[(at + i) * channels + c] = (from[i] - mean) * gain;
  }
  return out;
}

function empty(sources, length) {
  return Object.fromEntries(sources.map((source) => [source, new Float32Array(length)]));
}

// A network's channels into those of the recording; one channel gets the mean of what it was heard as.
function put(stem, channels, group, out, width, count) {
  for (let i = 0; i < count; i++) {
    if (group.length === channels) {
      for (let c = 0; c < channels; c++) out[i * width + group[c]] = stem[i * channels + c];
    } else {
      let sum = 0;
      for (let c = 0; c < channels; c++) sum += stem[i * channels + c];
      for (const c of group) out[i * width + c] = sum / channels;
    }
  }
}
