"""Pictures of recordings: stems, pitch, and what a timbre transfer did."""
