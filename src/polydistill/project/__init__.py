"""The project folder on disk: layout, workspaces, project lock, atomic files, schedules, files of a new project."""
