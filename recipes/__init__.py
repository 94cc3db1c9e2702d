"""Recipes that build this repository's own data from public packages. They are not part of the wheel."""
