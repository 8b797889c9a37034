"""Methods without training, on NumPy and SciPy alone."""
