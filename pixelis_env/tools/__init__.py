"""The operations on pixels and the backends that carry them out."""

from pixelis_env.tools.toolbox import Toolbox

__all__ = ["Toolbox"]
