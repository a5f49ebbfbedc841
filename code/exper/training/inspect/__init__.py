"""Look into a model while it trains: layers, histograms, the origin of a NaN."""
