"""Models, training and inference. Imports neither Django nor the platform."""
