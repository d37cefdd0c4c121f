"""Phase 3, test-time reinforcement learning: see `pixelis_agent.ttrl.train`."""
