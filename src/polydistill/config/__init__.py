"""Settings: the typed tree of `params.yaml`, defaults per modality, and the process environment."""
