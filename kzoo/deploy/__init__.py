"""The function that is shipped, whatever the format: waveform in, named stems out, proven.

`artefact.export` does all of it: write, reload in the format's own runtime, compare with Keras on
sound, describe in a card, move into place. The parts are of use alone: `saved_model` and `tflite`
write, reload and run; `parity` compares; `signature` is the function that both formats hold.
Any Keras model will do whose one input is a waveform `[batch, samples, channels]` and whose one
output is `[batch, sources, samples, channels]`; the names of the sources are an argument.
"""
