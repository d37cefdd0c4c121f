"""The backends, one file each. They are found by name through `pixelis_env.tools.registry`."""
