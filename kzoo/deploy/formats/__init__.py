"""One file a format: `write` an artefact, `describe` it, `load` it in its own runtime, name that.

float16, rewrite and streaming are parts of TFLite: kernels of half the size, layers in the form
that its kernels run fastest, and files that keep their state.
"""
