"""Training: the model, the data, the training loop, calibration and warm starts."""
