"""DSCDAN and SpectralNet."""
