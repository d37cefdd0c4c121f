"""Models and what turns text and images into their inputs."""
