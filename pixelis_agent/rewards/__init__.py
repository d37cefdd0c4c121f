"""What the steps of an episode are worth, and what judges them."""
