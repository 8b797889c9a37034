"""Engines: what runs a preset's network, TensorFlow or LiteRT, on the same blocks.

`blocks` says how a preset's recordings are cut and builds the network of one block; `tensorflow`
compiles it for this machine, `litert` runs a file of it that `making` has made and proven, once.
Nothing here is imported before an engine is chosen: TensorFlow takes seconds.
"""
