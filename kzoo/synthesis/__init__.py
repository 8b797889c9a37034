"""Synthesisers at work: controls in files, players, and recordings played by another timbre."""
