"""The agent SDK of Pixelis: rollouts, policies and the three training phases.

Importing this package is cheap; torch and transformers are imported by the modules that use them.
"""
