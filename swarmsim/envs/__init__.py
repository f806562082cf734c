"""Gymnasium environments in the form that the main job needs."""
