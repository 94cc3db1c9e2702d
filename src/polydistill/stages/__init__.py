"""One function a stage: files in, files out, a report back."""
