"""Pixelis: pixel-space operations on images and videos as a Gymnasium environment."""
