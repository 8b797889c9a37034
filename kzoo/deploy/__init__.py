"""What ships, whatever the format and whatever the model is for: named tensors in and out, proven.

`export.export` does all of it: write, reload in the format's own runtime, compare with Keras,
describe in a card, move into place. What differs between models is a `proof.Proof`: the names of
what goes in and comes out, and an example that shows that the artefact says what Keras says;
`examples` makes those of models that hear a waveform and of models that are played by controls.
The parts are of use alone: each module of `formats` writes, describes and runs its format,
`parity` compares, `signature` is the function that every format holds.
"""
