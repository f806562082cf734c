"""The roles of the main job, each thin: receive, call `learning`, answer."""
