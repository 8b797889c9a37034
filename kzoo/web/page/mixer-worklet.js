// Plays the pieces of all tracks from one position, so that they stay together to the sample.
//
// In: {push: {start, count, tracks: [Float32Array interleaved]}, width}, {seek}, {play}, {gains}.
// Out: {position, waiting, dropped} about 40 times a second.

class Mixer extends AudioWorkletProcessor {
  constructor() {
    super();
    Object.assign(this, { pieces: [], position: 0, playing: false, gains: [], now: [], width: 1, calls: 0 });
    this.port.onmessage = ({ data }) => {
      if (data.push) {
        this.width = data.width;
        this.pieces.push(data.push);
      }
      if (data.seek !== undefined) {
        this.position = data.seek;
        this.pieces = [];
      }
      if (data.gains) {
        this.gains = data.gains;
        if (!this.now.length) this.now = [...data.gains];
      }
      if (data.play !== undefined) this.playing = data.play;
    };
  }

  process(_, [output]) {
    const count = output[0].length;
    let waiting = false;
    for (let i = 0; this.playing && i < count; i++) {
      while (this.pieces.length && this.position >= this.pieces[0].start + this.pieces[0].count) this.pieces.shift();
      const piece = this.pieces[0];
      if (!piece || this.position < piece.start) {
        waiting = true;
        break;
      }
      const at = (this.position - piece.start) * this.width;
      for (let t = 0; t < piece.tracks.length; t++) {
        this.now[t] += (this.gains[t] - this.now[t]) * 0.004; // some 5 ms, so that no switch clicks
        for (let c = 0; c < output.length; c++) {
          output[c][i] += this.now[t] * piece.tracks[t][at + Math.min(c, this.width - 1)];
        }
      }
      this.position++;
    }
    if (++this.calls % 8 === 0 || waiting) this.port.postMessage({ position: this.position, waiting });
    return true;
  }
}
registerProcessor("mixer", Mixer);
