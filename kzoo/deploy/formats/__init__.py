"""One file a format: `write` an artefact, `describe` it, `load` it in its own runtime, name that.

kernels, search and streaming are parts of TFLite: kernels in fewer bits, which of them may have
them, and files that keep their state. The layers in the form that it runs fastest are in
`kzoo.deploy.forms`.
"""
