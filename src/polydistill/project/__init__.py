"""The project folder on disk: layout, workspaces, the project lock, atomic files, schedules and notices."""
