"""The project folder on disk: layout, workspaces, project lock, atomic files, files of a new project."""
