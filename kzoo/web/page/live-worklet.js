// Sound as it comes: a tap that records it, and hops through the network's worker and back.

class Tap extends AudioWorkletProcessor {
  process([input]) {
    if (input.length) {
      const piece = input[0].slice();
      this.port.postMessage(piece, [piece.buffer]);
    }
    return true;
  }
}
registerProcessor("tap", Tap);

// In: {port} to the worker once, {clean: whether the cleaned sound is heard}.
// Out, four times a second: {noisy, clean: Float32Array, latency: samples, gaps, milliseconds: of a hop}.
class Live extends AudioWorkletProcessor {
  constructor({ processorOptions: { hop, late } }) {
    super();
    Object.assign(this, {
      hop, late, filling: new Float32Array(hop), filled: 0, came: 0, went: 0, queue: [], queued: 0, at: 0,
      buffered: 2 * hop, started: false, gaps: 0, slowest: 0, clean: true, share: 1,
      history: new Float32Array(2 * sampleRate), heard: [[], []],
    });
    this.port.onmessage = ({ data }) => {
      if (data.clean !== undefined) this.clean = data.clean;
      if (data.port) {
        this.worker = data.port;
        this.worker.onmessage = ({ data: { hop: clean, milliseconds } }) => {
          this.queue.push(clean);
          this.queued += clean.length;
          this.slowest = Math.max(this.slowest, milliseconds);
        };
      }
    };
  }

  process([input], [output]) {
    const count = output[0].length;
    for (let i = 0; i < count; i++) {
      let sample = 0;
      for (const channel of input) sample += channel[i] / input.length;
      this.history[this.came++ % this.history.length] = sample;
      this.filling[this.filled++] = sample;
      if (this.filled === this.hop) {
        this.worker?.postMessage({ hop: this.filling }, [this.filling.buffer]);
        this.filling = new Float32Array(this.hop);
        this.filled = 0;
      }
    }
    if (!this.started && this.queued >= this.buffered) this.started = true;
    for (let i = 0; i < count && this.started; i++) {
      if (!this.queue.length) { // the network was late: wait for one hop more than before
        this.started = false;
        this.gaps++;
        this.buffered = Math.min(this.buffered + this.hop, 8 * this.hop);
        break;
      }
      const clean = this.queue[0][this.at++], place = this.went++ - this.late;
      const noisy = place < 0 ? 0 : this.history[place % this.history.length];
      if (this.at === this.queue[0].length) {
        this.queue.shift();
        this.at = 0;
      }
      this.queued--;
      this.share += ((this.clean ? 1 : 0) - this.share) * 0.004; // no click where one changes
      const sample = this.share * clean + (1 - this.share) * noisy;
      for (const channel of output) channel[i] = sample;
      this.heard[0].push(noisy);
      this.heard[1].push(clean);
    }
    if (this.heard[0].length >= sampleRate / 4) {
      const [noisy, clean] = this.heard.map((values) => Float32Array.from(values));
      this.heard = [[], []];
      const latency = this.came - this.went + this.late;
      this.port.postMessage({ noisy, clean, latency, gaps: this.gaps, milliseconds: this.slowest });
      this.slowest = 0;
    }
    return true;
  }
}
registerProcessor("live", Live);
