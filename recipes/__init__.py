"""Recipes that build this repository's own data from public packages; not part of the wheel."""
