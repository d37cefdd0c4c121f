"""A backend of your own: any object with the protocol's method; here Otsu's threshold."""

import cv2
import numpy as np

from pixelis_env.actions import Segment
from pixelis_env.env import PixelisEnv


class Otsu:
    """Segments by grey level: the side of Otsu's threshold on which the prompt lies."""

    name = "otsu"
    version = "1"

    def segment(self, media, index, *, box=None, point=None):
        """A mask (H, W) bool and a score, as `pixelis_env.tools.backend.Segmenter` asks."""
        grey = cv2.cvtColor(media.frame(index), cv2.COLOR_RGB2GRAY)
        _, bright = cv2.threshold(grey, 0, 1, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
        x, y = point if point else ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
        mask = bright == bright[int(y), int(x)]
        if box:
            x0, y0, x1, y1 = (round(v) for v in box)
            outside = np.ones_like(mask)
            outside[y0:y1, x0:x1] = False
            mask &= ~outside
        return mask, 1.0


env = PixelisEnv(family="search", tools={"segment": Otsu()})
env.reset(seed=0)
info = env.step(Segment(box=(300, 300, 700, 700)))[4]
print(info["evidence"])
