"""What every phase learns by: losses, aims, updates, checkpoints, processes."""
