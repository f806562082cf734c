"""One run of the main job: its rounds, what is saved of it, and the views that show it."""
