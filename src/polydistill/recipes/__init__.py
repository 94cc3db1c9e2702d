"""How the project's data is made, one file a modality."""
