"""Mixtures made on the fly: who speaks, what is heard beside them, in which room.

`utterances` shares out what is recorded and draws from it, `speech` has several speakers talk at
once, `noisy_speech` one in noise, `noises` makes noise up, `signals` sets levels, speeds and rooms.
"""
