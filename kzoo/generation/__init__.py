"""Sound sample after sample: what networks of the task generation say, drawn and heard again."""
