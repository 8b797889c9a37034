"""Methods that need no training; they use NumPy and SciPy alone."""
