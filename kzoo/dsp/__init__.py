"""Signal processing on `keras.ops`: pure functions first, thin serialisable layers around them."""
