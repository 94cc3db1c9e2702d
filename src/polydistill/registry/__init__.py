"""Promotion: the gate and its policy; pure, with the registry behind a protocol."""
