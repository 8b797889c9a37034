"""One file a format: `write` an artefact, `describe` it, `load` it in its own runtime, name that.

float16 and streaming are parts of TFLite: kernels of half the size, and files that keep their
state. The layers in the form that its kernels run fastest are in `kzoo.deploy.forms`.
"""
