"""What architectures share: their sizes, the domains in which they train, ways in from a waveform.

No architecture lives here; `models.list_models` lists the files beside this folder.
"""
