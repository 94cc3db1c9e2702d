"""Where the recipes' rows come from: readers of pinned packages."""
